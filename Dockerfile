# The agent as a container: the program and the libraries that it needs, nothing else, as docker/stage
# puts them together from a build of this tree:
#
#   ./configure && make && docker/stage registrator/registrator && docker build -t registrator .
#
# It has to see the host's addresses, and Docker. Which group the socket belongs to, the host knows:
#
#   docker run -d --name registrator --restart unless-stopped --network host \
#       -v /var/run/docker.sock:/var/run/docker.sock \
#       --group-add "$(stat -c %g /var/run/docker.sock)" \
#       registrator --etcd http://192.0.2.2:2379
FROM scratch
COPY build/image/ /
USER 65534:65534
# Should somebody publish a port of it, it is no service of theirs.
LABEL SERVICE_IGNORE=yes
ENTRYPOINT ["/usr/bin/registrator"]
