// SPDX-License-Identifier: Apache-2.0
#include "core/cgroup_path.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define CONTAINER_ID_LEN 64

static bool has_prefix(const char *s, const char *prefix)
{
	return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool has_suffix(const char *s, const char *suffix)
{
	size_t len = strlen(s), n = strlen(suffix);

	return len >= n && strcmp(s + len - n, suffix) == 0;
}

/* The systemd driver escapes the whole path into each slice's name, so a kubelet with
 * --cgroup-root=/kubelet makes "kubelet-kubepods.slice" (kind does). */
static bool is_kubepods(const char *name)
{
	return strcmp(name, "kubepods") == 0 || strcmp(name, "kubepods.slice") == 0 ||
	       has_suffix(name, "-kubepods.slice");
}

static bool is_qos(const char *name)
{
	return strcmp(name, "besteffort") == 0 || strcmp(name, "burstable") == 0 ||
	       has_suffix(name, "kubepods-besteffort.slice") ||
	       has_suffix(name, "kubepods-burstable.slice");
}

int cgroup_path_pod_uid(const char *name, char *ret_uid, size_t size)
{
	const char *uid = name;
	size_t len;

	if (has_suffix(name, ".slice")) {
		uid = strstr(name, "-pod");
		if (!uid || !strstr(name, "kubepods"))
			return -EINVAL;
		uid += strlen("-pod");
		len = strlen(uid) - strlen(".slice");
	} else if (has_prefix(name, "pod")) {
		uid += strlen("pod");
		len = strlen(uid);
	} else {
		return -EINVAL;
	}
	if (len == 0 || len >= size)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		char c = uid[i];

		if (!isalnum((unsigned char)c) && c != '-' && c != '_')
			return -EINVAL;
	}
	for (size_t i = 0; i < len; i++)
		ret_uid[i] = uid[i] == '_' ? '-' : uid[i];
	ret_uid[len] = '\0';
	return 0;
}

int cgroup_path_container_id(const char *name, char *ret_id, size_t size)
{
	static const char *const prefixes[] = {
		"cri-containerd-",
		"crio-",
		"docker-",
		"libpod-",
	};
	size_t len;

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++) {
		if (has_prefix(name, prefixes[i])) {
			name += strlen(prefixes[i]);
			break;
		}
	}
	len = strspn(name, "0123456789abcdef");
	if (len != CONTAINER_ID_LEN || (name[len] != '\0' && strcmp(name + len, ".scope") != 0))
		return -EINVAL;
	if (len >= size)
		return -EINVAL;
	memcpy(ret_id, name, len);
	ret_id[len] = '\0';
	return 0;
}

static bool is_container(const char *name)
{
	char id[CONTAINER_ID_LEN + 1];

	return cgroup_path_container_id(name, id, sizeof(id)) == 0;
}

enum cgroup_kind cgroup_path_kind(enum cgroup_kind parent, const char *name)
{
	char uid[64];

	switch (parent) {
	case CGROUP_OTHER:
		if (is_kubepods(name))
			return CGROUP_KUBEPODS;
		return is_container(name) ? CGROUP_LONE_CONTAINER : CGROUP_OTHER;
	case CGROUP_KUBEPODS:
		if (is_qos(name))
			return CGROUP_QOS;
		/* fall through: a Guaranteed pod's directory */
		__attribute__((fallthrough));
	case CGROUP_QOS:
		return cgroup_path_pod_uid(name, uid, sizeof(uid)) == 0 ? CGROUP_POD : CGROUP_OTHER;
	case CGROUP_POD:
		return CGROUP_CONTAINER;
	case CGROUP_LONE_CONTAINER:
	case CGROUP_CONTAINER:
	case CGROUP_NESTED:
		return CGROUP_NESTED;
	}
	return CGROUP_OTHER;
}

const char *cgroup_path_qos(const char *qos_name)
{
	if (strstr(qos_name, "besteffort"))
		return "besteffort";
	if (strstr(qos_name, "burstable"))
		return "burstable";
	return "guaranteed";
}

const char *cgroup_kind_name(enum cgroup_kind kind)
{
	static const char *const names[] = {
		[CGROUP_OTHER] = "other",	[CGROUP_LONE_CONTAINER] = "lone_container",
		[CGROUP_KUBEPODS] = "kubepods", [CGROUP_QOS] = "qos",
		[CGROUP_POD] = "pod",		[CGROUP_CONTAINER] = "container",
		[CGROUP_NESTED] = "nested",
	};

	return names[kind];
}
