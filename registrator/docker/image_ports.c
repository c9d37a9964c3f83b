#include "docker/image_ports.h"

#include "base/json.h"
#include "base/text.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { DIGEST_DIGITS = 64 };

/* "sha256:" and 64 hex digits, or only the digits. NULL: any other text, which must not become a part of a URL. */
static const char *checked_id(const char *text)
{
    static const char prefix[] = "sha256:";

    if (text && strncmp(text, prefix, strlen(prefix)) == 0)
        text += strlen(prefix);
    return text && strlen(text) == DIGEST_DIGITS && strspn(text, "0123456789abcdef") == DIGEST_DIGITS ? text : NULL;
}

int image_ports_need(Container *container, const cJSON *root)
{
    const char *id = checked_id(json_string(root, "Image"));
    bool in_pod =
        strncmp(container->network_mode, "container:", strlen("container:")) == 0 && container->n_networks > 0;

    if (!id || !in_pod || container->pod_infra || container->n_ports == 0)
        return 0;
    for (size_t i = 0; i < container->n_ports; i++)
        if (container->ports[i].exposed)
            return 0;
    container->image_id = strdup(id);
    return container->image_id ? 0 : -ENOMEM;
}

static bool is_exposed(const cJSON *exposed, const Port *port)
{
    char name[16];

    (void)snprintf(name, sizeof(name), "%u/%s", (unsigned)port->container_port, protocol_to_string(port->protocol));
    return cJSON_HasObjectItem(exposed, name);
}

int image_ports_read(Container *container, const char *body, size_t size)
{
    CLEANUP_JSON cJSON *root = cJSON_ParseWithLength(body, size);
    const cJSON *config = json_get(root, "Config"), *exposed = json_get(config, "ExposedPorts");

    if (!cJSON_IsObject(root))
        return -EBADMSG;
    for (size_t i = 0; cJSON_IsObject(exposed) && i < container->n_ports; i++)
        container->ports[i].exposed = is_exposed(exposed, &container->ports[i]);
    text_take(&container->image_id, NULL);
    return 0;
}
