module registrator/tests/bench/traffic

go 1.19
