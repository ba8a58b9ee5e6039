/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The join of a tick: cgroups as the kernel counts them, totals as BPF counts them, pods as the
 * kubelet names them, put together as the rows of a snapshot.
 * Refuses: to read or to decide. Counts come from cgroups alone; a kubelet that is silent or wrong
 * costs names, never tasks.
 */
#ifndef PIDWARDEN_JOIN_H
#define PIDWARDEN_JOIN_H

#include <stdint.h>

#include "core/cgroup_totals.h"
#include "core/pod_table.h"
#include "core/snapshot.h"
#include "read/cgroup_tree.h"

/* Rows of cgroups outside pods that are kept by name; the smallest are summed beyond it. */
#define JOIN_CGROUP_ROWS 200

struct join;

struct join_input {
	const struct cgroup_tree *tree;
	const struct cgroup_totals *totals; /* NULL: no counters */
	const struct pod_table *pods; /* NULL: the kubelet has named nobody yet */
	int64_t now_ms; /* monotonic */
	int64_t wall_ms;
	uint64_t node_tasks; /* of the whole machine; used when the root has no count of its own */
};

int join_new(struct join **ret_join);
void join_free(struct join *join);

/*
 * Fills pods, containers and cgroups of @snapshot (reset by the caller) and the sums over them in
 * its node row. Every task below the root is in exactly one pod or cgroup row.
 * 0 or -ENOMEM; the snapshot is then incomplete and must not be used.
 */
int join_rows(struct join *join, const struct join_input *input, struct snapshot *snapshot);

/* For pod_table_swap(): whether the last join saw tasks in the cgroup of pod @cgroup_uid. */
bool join_pod_alive(const char *cgroup_uid, void *join);
/* Pod cgroups with tasks, and those of them that no list has named, at the last join. */
size_t join_pods_alive(const struct join *join);
size_t join_pods_unknown(const struct join *join);

#endif
