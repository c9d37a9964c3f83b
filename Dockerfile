# The agent as a container: the program and the libraries that it needs, nothing else. A clone of the tree is enough:
#
#   docker build -t registrator .
#   docker run -d --name registrator --restart unless-stopped --network host \
#       -v /var/run/docker.sock:/var/run/docker.sock -v registrator:/var/lib/registrator \
#       --group-add "$(stat -c %g /var/run/docker.sock)" \
#       registrator --etcd http://192.0.2.2:2379
#
# The agent needs the host's addresses and Docker's socket. The host knows the group of the socket. The volume keeps
# what `registrator drain` and stop signals have deregistered.
FROM debian:trixie-slim AS build
ARG PACKAGES="gcc libc6-dev make autoconf automake pkg-config libcurl4-openssl-dev libcjson-dev libsystemd-dev \
    uthash-dev libmicrohttpd-dev"
# A base image that has the packages needs no network.
RUN dpkg -s $PACKAGES >/dev/null 2>&1 || \
    { apt-get update && apt-get install -y --no-install-recommends $PACKAGES && rm -rf /var/lib/apt/lists/*; }
COPY . /src
RUN cd /src && autoreconf -i && ./configure --sysconfdir=/etc && make -j"$(nproc)" registrator/registrator && \
    docker/stage registrator/registrator /image

FROM scratch
COPY --from=build /image/ /
USER 65534:65534
ENV STATE_DIRECTORY=/var/lib/registrator
VOLUME /var/lib/registrator
# The agent answers, whether or not it reaches Docker and etcd: a restart would not help it there.
HEALTHCHECK --interval=10s --timeout=10s --start-period=10s CMD ["/usr/bin/registrator", "status"]
# If somebody publishes a port of this container, no consumer is meant to find it.
LABEL SERVICE_IGNORE=yes
ENTRYPOINT ["/usr/bin/registrator"]
