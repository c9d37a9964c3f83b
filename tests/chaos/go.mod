module registrator/tests/chaos

go 1.19
