/* The exposed ports of a container in a Podman pod. Podman's Docker API shows the pod's published ports at each
 * container of the pod, but not the ports that a container exposes. Only the image shows those. Pure. */
#pragma once

#include "docker/container.h"

#include <cjson/cJSON.h>

/* Fills container->image_id if the image must be inspected. The container's ports and networks must be filled
 * already. root: the object of GET /containers/ID/json. 0 or -ENOMEM. */
int image_ports_need(Container *container, const cJSON *root);

/* body: of GET /images/ID/json. Marks the container's ports that the image exposes. 0, or -EBADMSG: the body is not
 * an image. */
int image_ports_read(Container *container, const char *body, size_t size);
