module registrator/tests/bench

go 1.19
