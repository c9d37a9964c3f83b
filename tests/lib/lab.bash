# shellcheck shell=bash
# The lab: Docker hosts, etcd servers and agents on one machine, all of them real.
#
# Every host is a network namespace on a switch (a bridge in a namespace of its own), with its
# own dockerd. Everything the lab has lives below $LAB and is ended by lab_down, after a failure
# too. Functions are called one after another, from one shell or from several that share $LAB.
# Needs root. None of them waits without a limit; a failure is told on stderr.
#
#   lab_trap; lab_up                   # in bats: teardown() { lab_down; }
#   lab_host h1 192.0.2.11; lab_dockerd h1; lab_image h1
#   lab_host etcd 192.0.2.2; lab_etcd e1 etcd 3.4; lab_agent h1 --ttl 5
#   lab_docker h1 run -d -P --name web app:1
#   wait_for 2 keys_are h1

LAB_LIB=${BASH_SOURCE[0]}
LAB_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LAB_TOOLS=${TOOLS:-$LAB_TOP/build/tools}

# What a slow machine may take for what should be instant. A test's own limits are tighter.
LAB_PATIENCE=${LAB_PATIENCE:-30}

# The parts.
# shellcheck source=tests/lib/lab/process.bash
. "$LAB_TOP/tests/lib/lab/process.bash"
# shellcheck source=tests/lib/lab/hosts.bash
. "$LAB_TOP/tests/lib/lab/hosts.bash"
# shellcheck source=tests/lib/lab/docker.bash
. "$LAB_TOP/tests/lib/lab/docker.bash"
# shellcheck source=tests/lib/lab/etcd.bash
. "$LAB_TOP/tests/lib/lab/etcd.bash"
# shellcheck source=tests/lib/lab/keys.bash
. "$LAB_TOP/tests/lib/lab/keys.bash"
# shellcheck source=tests/lib/lab/watch.bash
. "$LAB_TOP/tests/lib/lab/watch.bash"
# shellcheck source=tests/lib/lab/agent.bash
. "$LAB_TOP/tests/lib/lab/agent.bash"
