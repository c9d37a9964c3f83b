module registrator/tests/tools/confd-0.6

go 1.17

require (
	github.com/kelseyhightower/confd v0.7.1
)
