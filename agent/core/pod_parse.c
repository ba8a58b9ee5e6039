// SPDX-License-Identifier: Apache-2.0
#include "core/pod_parse.h"

#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/clean.h"
#include "base/parse.h"

/* Labels and annotations that some builder rule looks at; a pod has a handful at most. */
#define PAIRS_MAX 32
#define CONFIG_HASH_LEN 32

static void json_free(cJSON **json)
{
	cJSON_Delete(*json);
}

static const cJSON *object_of(const cJSON *parent, const char *key)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(parent, key);

	return cJSON_IsObject(value) ? value : NULL;
}

static const cJSON *array_of(const cJSON *parent, const char *key)
{
	const cJSON *value = cJSON_GetObjectItemCaseSensitive(parent, key);

	return cJSON_IsArray(value) ? value : NULL;
}

static const char *string_of(const cJSON *parent, const char *key)
{
	const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(parent, key));

	return value ? value : "";
}

/* Cut to fit, between two characters where the text is UTF-8. False: it did not fit. */
static bool copy_text(char *to, size_t size, const char *from)
{
	size_t len = strlen(from);
	bool fits = len < size;

	if (!fits) {
		len = size - 1;
		while (len > 0 && ((unsigned char)from[len] & 0xc0) == 0x80 && size - 1 - len < 3)
			len--;
	}
	memcpy(to, from, len);
	to[len] = '\0';
	return fits;
}

/*
 * Mirror pods are the API's image of a static pod: another uid, the same cgroup, named by the
 * kubelet's config hash. Anybody can set the annotations on a pod of their own, so that only what
 * a config hash looks like is believed: 32 hex digits are no API object's uid, hence no pod can
 * pose as another one that came from the API. The kubelet itself writes config.source.
 */
static bool config_hash(const cJSON *annotations, const char **ret_hash)
{
	const char *hash = string_of(annotations, "kubernetes.io/config.hash");
	const char *source = string_of(annotations, "kubernetes.io/config.source");

	if (strlen(hash) != CONFIG_HASH_LEN ||
	    strspn(hash, "0123456789abcdef") != CONFIG_HASH_LEN || *source == '\0' ||
	    strcmp(source, "api") == 0)
		return false;
	*ret_hash = hash;
	return true;
}

static int parse_names(const cJSON *pod, struct pod_identity *ret_pod)
{
	const cJSON *metadata = object_of(pod, "metadata");
	const char *uid = string_of(metadata, "uid"), *hash;

	if (*uid == '\0' || !copy_text(ret_pod->uid, sizeof(ret_pod->uid), uid))
		return -EINVAL;
	if (config_hash(object_of(metadata, "annotations"), &hash))
		copy_text(ret_pod->cgroup_uid, sizeof(ret_pod->cgroup_uid), hash);
	else
		copy_text(ret_pod->cgroup_uid, sizeof(ret_pod->cgroup_uid), uid);
	copy_text(ret_pod->namespace, sizeof(ret_pod->namespace), string_of(metadata, "namespace"));
	copy_text(ret_pod->name, sizeof(ret_pod->name), string_of(metadata, "name"));
	if (*ret_pod->namespace == '\0' || *ret_pod->name == '\0')
		return -EINVAL;
	ret_pod->deleting = *string_of(metadata, "deletionTimestamp") != '\0';
	return 0;
}

/* The controller if there is one, else the first owner. */
static void parse_owner(const cJSON *pod, struct pod_identity *ret_pod)
{
	const cJSON *owners = array_of(object_of(pod, "metadata"), "ownerReferences");
	const cJSON *owner, *best = NULL;

	cJSON_ArrayForEach(owner, owners) {
		bool controls = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(owner, "controller"));

		if (!cJSON_IsObject(owner) || (best && !controls))
			continue;
		best = owner;
		ret_pod->owner_controls = controls;
		if (controls)
			break;
	}
	if (!best)
		return;
	copy_text(ret_pod->owner_kind, sizeof(ret_pod->owner_kind), string_of(best, "kind"));
	copy_text(ret_pod->owner_name, sizeof(ret_pod->owner_name), string_of(best, "name"));
}

static void parse_status(const cJSON *pod, struct pod_identity *ret_pod)
{
	const cJSON *status = object_of(pod, "status");
	int64_t start_ms;

	copy_text(ret_pod->node, sizeof(ret_pod->node),
		  string_of(object_of(pod, "spec"), "nodeName"));
	copy_text(ret_pod->phase, sizeof(ret_pod->phase), string_of(status, "phase"));
	copy_text(ret_pod->qos_class, sizeof(ret_pod->qos_class), string_of(status, "qosClass"));
	if (parse_rfc3339_ms(string_of(status, "startTime"), &start_ms) == 0)
		ret_pod->start_wall_ms = start_ms;
}

static struct pod_container *find_container(struct pod_identity *pod,
					    struct pod_container *containers,
					    enum pod_container_type type, const char *name)
{
	struct pod_container *container;

	for (size_t i = 0; i < pod->n_containers; i++) {
		if (containers[i].type == type && strcmp(containers[i].name, name) == 0)
			return &containers[i];
	}
	if (pod->n_containers == POD_CONTAINERS_MAX) {
		pod->containers_dropped++;
		return NULL;
	}
	container = &containers[pod->n_containers++];
	*container = (struct pod_container){ .type = type };
	copy_text(container->name, sizeof(container->name), name);
	return container;
}

static enum pod_container_state container_state(const cJSON *status)
{
	const cJSON *state = object_of(status, "state");

	if (object_of(state, "running"))
		return POD_CONTAINER_RUNNING;
	if (object_of(state, "terminated"))
		return POD_CONTAINER_TERMINATED;
	if (object_of(state, "waiting"))
		return POD_CONTAINER_WAITING;
	return POD_CONTAINER_UNKNOWN;
}

/* "containerd://<id>", "cri-o://<id>", "docker://<id>". An id that does not fit is none. */
static void container_id(const char *full, char *ret_id, size_t size)
{
	const char *id = strstr(full, "://");

	id = id ? id + strlen("://") : full;
	if (!copy_text(ret_id, size, id) || strspn(ret_id, "0123456789abcdef") != strlen(ret_id))
		ret_id[0] = '\0';
}

static void parse_containers(const cJSON *pod, struct pod_identity *ret_pod,
			     struct pod_container *ret_containers)
{
	static const struct {
		const char *spec;
		const char *status;
		enum pod_container_type type;
	} lists[] = {
		{ "containers", "containerStatuses", POD_CONTAINER_MAIN },
		{ "initContainers", "initContainerStatuses", POD_CONTAINER_INIT },
		{ "ephemeralContainers", "ephemeralContainerStatuses", POD_CONTAINER_EPHEMERAL },
	};
	const cJSON *spec = object_of(pod, "spec"), *status = object_of(pod, "status"), *entry;

	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		cJSON_ArrayForEach(entry, array_of(spec, lists[i].spec)) {
			const char *name = string_of(entry, "name");

			if (*name != '\0')
				find_container(ret_pod, ret_containers, lists[i].type, name);
		}
		cJSON_ArrayForEach(entry, array_of(status, lists[i].status)) {
			const char *name = string_of(entry, "name");
			struct pod_container *container;

			if (*name == '\0')
				continue;
			container = find_container(ret_pod, ret_containers, lists[i].type, name);
			if (!container)
				continue;
			container->state = container_state(entry);
			container_id(string_of(entry, "containerID"), container->id,
				     sizeof(container->id));
		}
	}
}

static size_t wanted_pairs(const cJSON *object, const struct builder_table *builders,
			   bool (*wants)(const struct builder_table *, const char *),
			   struct builder_pair *pairs)
{
	const cJSON *entry;
	size_t n = 0;

	cJSON_ArrayForEach(entry, object) {
		const char *value = cJSON_GetStringValue(entry);

		if (n < PAIRS_MAX && value && entry->string && wants(builders, entry->string))
			pairs[n++] = (struct builder_pair){ entry->string, value };
	}
	return n;
}

static void match_builder(const cJSON *pod, const struct builder_table *builders,
			  struct pod_identity *ret_pod)
{
	const cJSON *metadata = object_of(pod, "metadata"), *container;
	struct builder_pair labels[PAIRS_MAX], annotations[PAIRS_MAX];
	const char *images[POD_CONTAINERS_MAX];
	struct builder_subject subject = {
		.name = ret_pod->name,
		.owner_kind = ret_pod->owner_kind,
		.owner_name = ret_pod->owner_name,
		.labels = labels,
		.annotations = annotations,
		.images = images,
	};
	const char *builder;

	subject.n_labels =
		wanted_pairs(object_of(metadata, "labels"), builders, builders_wants_label, labels);
	subject.n_annotations = wanted_pairs(object_of(metadata, "annotations"), builders,
					     builders_wants_annotation, annotations);
	cJSON_ArrayForEach(container, array_of(object_of(pod, "spec"), "containers")) {
		if (subject.n_images < POD_CONTAINERS_MAX)
			images[subject.n_images++] = string_of(container, "image");
	}
	builder = builders_match(builders, &subject);
	if (builder)
		copy_text(ret_pod->builder, sizeof(ret_pod->builder), builder);
}

int pod_parse(const char *json, size_t len, const struct builder_table *builders,
	      struct pod_identity *ret_pod, struct pod_container *ret_containers)
{
	clean(json_free) cJSON *pod = cJSON_ParseWithLength(json, len);
	struct pod_identity identity = { 0 };
	int err;

	if (!cJSON_IsObject(pod))
		return -EBADMSG;
	err = parse_names(pod, &identity);
	if (err < 0)
		return err;
	parse_owner(pod, &identity);
	parse_status(pod, &identity);
	parse_containers(pod, &identity, ret_containers);
	match_builder(pod, builders, &identity);
	*ret_pod = identity;
	return 0;
}
