module registrator/tests/tools/etcd-2.3

go 1.17

require (
	github.com/coreos/etcd v2.3.8+incompatible
)
