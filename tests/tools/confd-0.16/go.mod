module registrator/tests/tools/confd-0.16

go 1.23

require (
	github.com/coreos/bbolt v1.3.3
	github.com/coreos/etcd v3.3.27+incompatible
	github.com/garyburd/redigo v1.6.0
	github.com/hashicorp/consul/api v1.1.0
	github.com/hashicorp/vault/api v1.0.4
	github.com/kelseyhightower/confd v0.16.0
	github.com/kelseyhightower/memkv v0.1.1
	github.com/samuel/go-zookeeper v0.0.0-20180130194729-c4fab1ac1bec
	google.golang.org/grpc v1.23.0
)

require (
	github.com/aws/aws-sdk-go v1.55.8 // indirect
	github.com/coreos/go-semver v0.3.1 // indirect
	github.com/coreos/go-systemd v0.0.0-20191104093116-d3cd4ed1dbcf // indirect
	github.com/coreos/pkg v0.0.0-20240122114842-bbd7aa9bf6fb // indirect
	github.com/fsnotify/fsnotify v1.10.1 // indirect
	github.com/gogo/protobuf v1.3.2 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/json-iterator/go v1.1.12 // indirect
	github.com/modern-go/reflect2 v1.0.2 // indirect
	github.com/sirupsen/logrus v1.10.2 // indirect
	github.com/xordataexchange/crypt v0.0.3-0.20170626215501-b2862e3d0a77 // indirect
	go.uber.org/zap v1.28.0 // indirect
	gopkg.in/yaml.v2 v2.4.0 // indirect
)
