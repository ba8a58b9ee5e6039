/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stand-in node: a cgroup with a pids.max of its own, shaped like a node's (kubepods beside
 * system), so that exhausting it harms nothing else on the machine.
 * Refuses: a directory that might be somebody's real node.
 */
#ifndef BUILDGEN_NODE_H
#define BUILDGEN_NODE_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "cgtree.h"

/* Nodes of this name are the demonstration's own: removed once their owner is dead. */
#define NODE_NAME_PREFIX "pidwarden-demo-"

struct node {
	struct cgtree tree;
	char dir[PATH_MAX];
	char pods_dir[PATH_MAX]; /* <dir>/kubepods/burstable */
	char system_dir[PATH_MAX]; /* <dir>/system/buildgen: where the generator itself lives */
	bool made; /* the directory is ours to remove */
	int lock_fd; /* flock(2) on dir: held as long as the owner lives, however it dies */
	int current_fd; /* pids.current, kept open */
	uint64_t limit; /* pids.max, UINT64_MAX: none */
	uint64_t peak; /* highest pids.current seen by node_sample() */
};

/*
 * Takes @dir (absolute, in the pids hierarchy; made when missing; NULL: a new one at the
 * hierarchy's top) as the node, with pids.max @pids (0: as it is), removes what dead generators
 * left, and moves the calling process into it. On failure @why says what is wrong, for people.
 */
int node_open(struct node *ret_node, const char *dir, uint64_t pids, char *why, size_t why_size);
/* Moves the caller back where it came from; kills and removes everything that was made. 0 or the
 * -errno of what could not be removed. Nothing but a zeroed node: 0. */
int node_close(struct node *node);
/* Reads pids.current now and keeps the highest. */
int node_sample(struct node *node, uint64_t *ret_current);
/* The highest number of tasks: the kernel's pids.peak where there is one, or the highest
 * sample. *@ret_source says which. */
uint64_t node_peak(const struct node *node, const char **ret_source);

#endif
