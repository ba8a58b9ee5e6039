// SPDX-License-Identifier: Apache-2.0
#include "core/snapshot.h"

#include <stdlib.h>
#include <string.h>

void task_totals_add(struct task_totals *sum, const struct task_totals *more)
{
	sum->processes_created += more->processes_created;
	sum->threads_created += more->threads_created;
	sum->execs += more->execs;
	sum->exits += more->exits;
}

static void keep_larger(uint64_t *value, uint64_t before)
{
	if (*value < before)
		*value = before;
}

void task_totals_keep(struct task_totals *totals, const struct task_totals *before)
{
	keep_larger(&totals->processes_created, before->processes_created);
	keep_larger(&totals->threads_created, before->threads_created);
	keep_larger(&totals->execs, before->execs);
	keep_larger(&totals->exits, before->exits);
}

void snapshot_done(struct snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->pods);
	free(snapshot->containers);
	free(snapshot->cgroups);
	memset(snapshot, 0, sizeof(*snapshot));
}

void snapshot_reset(struct snapshot *snapshot)
{
	snapshot->n_pods = 0;
	snapshot->n_containers = 0;
	snapshot->n_cgroups = 0;
	snapshot->cgroups_folded = 0;
	snapshot->cgroups_folded_tasks = 0;
	memset(&snapshot->node, 0, sizeof(snapshot->node));
	limit_set_reset(&snapshot->node.limits);
}

/* A zeroed new last element of a growing array. */
static void *rows_add(void **rows, size_t *n, size_t *cap, size_t size)
{
	if (*n == *cap) {
		size_t cap_new = *cap > 0 ? *cap * 2 : 32;
		void *grown = reallocarray(*rows, cap_new, size);

		if (!grown)
			return NULL;
		*rows = grown;
		*cap = cap_new;
	}
	return memset((char *)*rows + (*n)++ * size, 0, size);
}

struct pod_row *snapshot_add_pod(struct snapshot *snapshot)
{
	struct pod_row *row = rows_add((void **)&snapshot->pods, &snapshot->n_pods,
				       &snapshot->cap_pods, sizeof(*row));

	if (row)
		row->limit = LIMIT_NONE;
	return row;
}

struct container_row *snapshot_add_container(struct snapshot *snapshot)
{
	struct container_row *row = rows_add((void **)&snapshot->containers,
					     &snapshot->n_containers, &snapshot->cap_containers,
					     sizeof(*row));

	if (row)
		row->limit = LIMIT_NONE;
	return row;
}

struct cgroup_row *snapshot_add_cgroup(struct snapshot *snapshot)
{
	struct cgroup_row *row = rows_add((void **)&snapshot->cgroups, &snapshot->n_cgroups,
					  &snapshot->cap_cgroups, sizeof(*row));

	if (row)
		row->limit = LIMIT_NONE;
	return row;
}
