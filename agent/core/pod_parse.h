/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One Pod object (JSON, Kubernetes v1) as the few facts pidwarden joins with cgroups: who it is,
 * who owns it, which containers it has, whether it is a build.
 * Refuses: to keep the object, to trust a type: a field of the wrong one counts as absent.
 */
#ifndef PIDWARDEN_CORE_POD_PARSE_H
#define PIDWARDEN_CORE_POD_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/builders.h"
#include "core/snapshot.h"

/* Kubernetes sets no bound of its own; further containers are dropped and counted. */
#define POD_CONTAINERS_MAX 64
#define POD_OWNER_KIND_MAX 64

enum pod_container_type {
	POD_CONTAINER_MAIN, /* spec.containers */
	POD_CONTAINER_INIT,
	POD_CONTAINER_EPHEMERAL,
};

enum pod_container_state {
	POD_CONTAINER_UNKNOWN, /* no status yet */
	POD_CONTAINER_WAITING,
	POD_CONTAINER_RUNNING,
	POD_CONTAINER_TERMINATED,
};

struct pod_container {
	char name[CONTAINER_NAME_MAX];
	/* Without "containerd://"; "" for the first second or two of a container's life. After a
	 * restart the newest one. */
	char id[CONTAINER_ID_MAX];
	enum pod_container_type type;
	enum pod_container_state state;
};

/* Text longer than Kubernetes allows is cut; it may hold any byte but NUL. */
struct pod_identity {
	char uid[POD_UID_MAX];
	/* What the pod's cgroup directory carries: the uid, but for an API server's mirror pod the
	 * static pod's config hash. */
	char cgroup_uid[POD_UID_MAX];
	char namespace[POD_NAMESPACE_MAX];
	char name[POD_NAME_MAX];
	char node[POD_NAME_MAX];
	char phase[16];
	char qos_class[16]; /* "Guaranteed", "Burstable", "BestEffort" or "" */
	int64_t start_wall_ms; /* status.startTime, 0: absent */
	bool deleting; /* has a deletionTimestamp */
	bool owner_controls; /* the owner below is the controller */
	char owner_kind[POD_OWNER_KIND_MAX]; /* "" : owned by nothing */
	char owner_name[POD_NAME_MAX];
	char builder[BUILDER_NAME_MAX]; /* "": no build */
	size_t n_containers;
	size_t containers_dropped; /* beyond POD_CONTAINERS_MAX */
};

/*
 * Fills @ret_pod, and the first n_containers of @ret_containers (room for POD_CONTAINERS_MAX), from
 * @len bytes of JSON. 0, -EBADMSG (no JSON object, or no memory to hold it: cJSON does not tell
 * them apart) or -EINVAL (no uid, namespace or name that can be used).
 */
int pod_parse(const char *json, size_t len, const struct builder_table *builders,
	      struct pod_identity *ret_pod, struct pod_container *ret_containers);

#endif
