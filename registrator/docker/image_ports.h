/* The exposed ports of a Podman pod's container. Podman's Docker API shows the pod's published ports at each container of the
 * pod, but not which ones the container exposes: its image tells. Pure. */
#pragma once

#include "docker/container.h"

#include <cjson/cJSON.h>

/* Fills container->image_id if the image must be asked. The container's ports and networks are known by then. root: the
 * object of GET /containers/ID/json. 0 or -ENOMEM. */
int image_ports_need(Container *container, const cJSON *root);

/* body: of GET /images/ID/json. Marks the container's ports that the image exposes. -EBADMSG: the body is no image. */
int image_ports_read(Container *container, const char *body, size_t size);
