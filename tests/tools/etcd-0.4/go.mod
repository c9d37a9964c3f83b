module registrator/tests/tools/etcd-0.4

go 1.17

require (
	github.com/coreos/etcd v0.4.6
)
