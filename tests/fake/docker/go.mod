module registrator/tests/fake/docker

go 1.19
