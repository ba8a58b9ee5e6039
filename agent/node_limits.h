/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a new pod on this node would meet, from readers into the snapshot's limit set.
 * Refuses: a pod's own limit; it binds that pod alone.
 */
#ifndef PIDWARDEN_NODE_LIMITS_H
#define PIDWARDEN_NODE_LIMITS_H

#include "core/snapshot.h"
#include "read/cgroup_tree.h"
#include "read/node_facts.h"

struct node_limits_input {
	const struct node_facts *facts; /* NULL: /proc could not be read */
	const struct cgroup_tree *tree;
	/* From BPF; 0: not known. pid_max only where the kernel has one per PID namespace. */
	uint64_t pids_allocated, root_pid_max;
	bool own_root; /* the tree's root is a --node-cgroup, named "node" */
	const char *mount; /* root of the pids hierarchy */
	const char *node_cgroup; /* the tree's root, below mount; "" when it is the mount itself */
};

/* Fills the limits, and what the node row says of PIDs in use. */
void node_limits_fill(const struct node_limits_input *input, struct node_row *node);

#endif
