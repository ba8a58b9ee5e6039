/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds the hierarchy that carries the pids controller by looking at the mounts, and says which
 * kind of machine this is.
 * Refuses: configuration of the version; a machine is what its mounts say.
 */
#ifndef PIDWARDEN_READ_CGROUP_MOUNT_H
#define PIDWARDEN_READ_CGROUP_MOUNT_H

#include <limits.h>

enum cgroup_mode {
	CGROUP_MODE_V1, /* pids is a v1 controller, no v2 hierarchy is mounted */
	CGROUP_MODE_HYBRID, /* pids is a v1 controller, v2 is mounted beside it */
	CGROUP_MODE_V2, /* pids is in the v2 hierarchy */
};

struct cgroup_mount {
	enum cgroup_mode mode;
	char path[PATH_MAX]; /* directory that is the root of the pids hierarchy as seen here */
};

/*
 * Looks at @proc_root/self/mountinfo. With @cgroup_root set (the host's /sys/fs/cgroup mounted
 * elsewhere, the pids hierarchy itself, or a captured tree) only that directory and its "pids" and
 * "unified" children are looked at, by the files they hold. -ENOENT when no mounted hierarchy has pids.
 */
int cgroup_mount_find(const char *proc_root, const char *cgroup_root,
		      struct cgroup_mount *ret_mount);
const char *cgroup_mode_name(enum cgroup_mode mode);

#endif
