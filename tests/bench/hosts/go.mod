module registrator/tests/bench/hosts

go 1.19
