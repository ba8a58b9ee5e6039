/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a cgroup directory's name says: pod, QoS class, container, for the cgroupfs and the systemd
 * driver and the names that containerd, CRI-O and docker use.
 * Refuses: absolute paths (inside a cgroup namespace they lie); a directory is judged by its own
 * name and by what its parent was found to be.
 */
#ifndef PIDWARDEN_CORE_CGROUP_PATH_H
#define PIDWARDEN_CORE_CGROUP_PATH_H

#include <stddef.h>
#include <stdint.h>

enum cgroup_kind {
	CGROUP_OTHER, /* a service, a slice, the root */
	CGROUP_LONE_CONTAINER, /* a container of no pod (docker run, podman) */
	CGROUP_KUBEPODS, /* the directory that holds all pods */
	CGROUP_QOS, /* besteffort or burstable below it */
	CGROUP_POD,
	CGROUP_CONTAINER, /* any child of a pod: container, sandbox, conmon */
	CGROUP_NESTED, /* anything below a container belongs to that container */
};

/*
 * The kind of the directory @name below a directory of kind @parent. Nothing below a container is
 * ever a pod: a build may name its own cgroups as it likes.
 */
enum cgroup_kind cgroup_path_kind(enum cgroup_kind parent, const char *name);

/*
 * The pod UID in the name of a pod's directory: "pod<uid>", or ".._-pod<uid>.slice" with '_' for
 * '-'. For a static pod this is the kubelet's config hash. 0, or -EINVAL when it is no such name or
 * @size is too small.
 */
int cgroup_path_pod_uid(const char *name, char *ret_uid, size_t size);

/*
 * The container id in a container directory's name: 64 hex digits, bare or within
 * "cri-containerd-<id>.scope", "crio-<id>", "crio-<id>.scope", "docker-<id>.scope",
 * "libpod-<id>.scope". 0, or -EINVAL for other names (conmon's scope among them).
 */
int cgroup_path_container_id(const char *name, char *ret_id, size_t size);

/* "guaranteed", "burstable" or "besteffort" by a QoS directory's name; pods directly below kubepods
 * are Guaranteed. */
const char *cgroup_path_qos(const char *qos_name);

const char *cgroup_kind_name(enum cgroup_kind kind);

#endif
