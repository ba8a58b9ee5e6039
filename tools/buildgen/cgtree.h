/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pids hierarchy of this machine, and directories in it: found, made, filled, emptied,
 * removed. cgroup v1, hybrid and v2.
 * Refuses: to know what the directories stand for, and to touch a process outside the directory
 * it is told to empty.
 */
#ifndef BUILDGEN_CGTREE_H
#define BUILDGEN_CGTREE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct cgtree {
	char mount[PATH_MAX]; /* where the hierarchy with the pids controller is mounted */
	char self[PATH_MAX]; /* directory of this process's cgroup when it was found */
	bool v2;
};

/* From /proc/self/mountinfo and /proc/self/cgroup. -ENOENT: no pids controller is mounted. */
int cgtree_find(struct cgtree *ret_tree);
/*
 * Makes @dir (absolute, below tree->mount) and what is missing above it. On v2 `+pids` is enabled
 * in every directory above @dir; -EBUSY or -EOPNOTSUPP when one of them has processes of its own.
 */
int cgtree_make(const struct cgtree *tree, const char *dir);
/* 0 or -errno; cgroup files take a whole value in one write. */
int cgtree_write(const char *dir, const char *file, const char *value);
/* "max" gives UINT64_MAX. */
int cgtree_read_u64(const char *dir, const char *file, uint64_t *ret_value);
/* Moves the calling process (all its threads) into @dir. Safe between fork and exec. */
int cgtree_enter(const char *dir);
/*
 * One pass over @dir and everything below: SIGKILL to each process but the caller, and an attempt
 * to remove each directory. 0: gone (also when it never was there); -EBUSY: call again when the
 * killed have been reaped; another -errno: cannot be removed.
 */
int cgtree_remove_pass(const char *dir);
/* Passes until it is gone, for @timeout_ms at most (-ETIMEDOUT). Reaps the caller's own children
 * on the way when @reap: their zombies would be waited for in vain. */
int cgtree_remove(const char *dir, int64_t timeout_ms, bool reap);
/* SIGTERM to each process but the caller in @dir itself. How many there are, -errno. */
int cgtree_ask_to_end(const char *dir);

#endif
