/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The model: what one tick knows about the node, in plain rows. Readers' data is joined into it,
 * policy and exposition only read it.
 * Refuses: pointers into readers; a snapshot owns all its text, so that it may outlive them.
 */
#ifndef PIDWARDEN_CORE_SNAPSHOT_H
#define PIDWARDEN_CORE_SNAPSHOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/limits.h"

/* Kubernetes bounds: a name is a DNS subdomain (253), a namespace a label (63). Text from
 * elsewhere (cgroup names) is cut to fit. */
#define POD_UID_MAX 64
#define POD_NAMESPACE_MAX 64
#define POD_NAME_MAX 254
#define CONTAINER_NAME_MAX 64
#define CONTAINER_ID_MAX 65
#define BUILDER_NAME_MAX 32
#define CGROUP_PATH_MAX 512

/* Totals since the agent first saw the cgroup; they never fall. */
struct task_totals {
	uint64_t processes_created;
	uint64_t threads_created;
	uint64_t execs;
	uint64_t exits; /* of tasks: threads and processes */
};

struct pod_row {
	char uid[POD_UID_MAX]; /* as the cgroup path has it, with '-' */
	char namespace[POD_NAMESPACE_MAX]; /* "" while the kubelet has not named the pod */
	char name[POD_NAME_MAX]; /* the cgroup's own name until then */
	char builder[BUILDER_NAME_MAX]; /* "" : not a build */
	char workload[POD_NAME_MAX]; /* the owner's name (Job ...), "" unknown */
	char phase[16]; /* "" unknown */
	bool known; /* the kubelet has named it */
	bool is_build;
	uint64_t tasks; /* pids.current: live threads and zombies */
	uint64_t limit; /* smallest pids.max within the pod's own directory, or LIMIT_NONE */
	int64_t age_ms; /* since it started, or since the agent first saw it */
	struct task_totals totals;
	size_t first_container; /* index into snapshot.containers */
	size_t n_containers;
};

struct container_row {
	size_t pod; /* index into snapshot.pods */
	/* The kubelet's name; "POD" for the sandbox; the short id while unknown. */
	char name[CONTAINER_NAME_MAX];
	char id[CONTAINER_ID_MAX];
	bool known;
	bool sandbox;
	uint64_t tasks;
	uint64_t limit;
	struct task_totals totals;
};

/* A cgroup that belongs to no pod: a systemd service, a lone container. */
struct cgroup_row {
	char path[CGROUP_PATH_MAX]; /* relative to the node's root, with leading '/' */
	uint64_t tasks;
	uint64_t limit;
	struct task_totals totals;
};

struct node_row {
	char name[POD_NAME_MAX];
	const char *cgroup_mode; /* "v1", "hybrid", "v2" (static text) */
	struct limit_set limits;
	uint64_t tasks; /* all tasks of the node */
	uint64_t pids_allocated; /* 0: not read (no BPF): pid_max is then judged by tasks */
	bool pids_allocated_exact;
	uint64_t pod_tasks; /* sum over pods */
	uint64_t build_tasks; /* sum over builds */
	size_t n_builds;
	struct task_totals totals; /* everything ever counted, cgroups long gone included */
	bool counting; /* the BPF counters are there */
};

struct source_state {
	bool configured;
	bool up; /* the last attempt gave good data */
	bool ever; /* any attempt did */
	int64_t last_good_wall_ms; /* 0: never */
	char error[256]; /* "" when up; else one sentence for an operator */
	uint64_t requests;
	uint64_t failures;
	uint64_t items_skipped; /* pods of the last list left out: too large, too deep, broken */
};

struct snapshot {
	uint64_t sequence; /* 0: no full snapshot yet */
	int64_t mono_ms; /* when the counts were read */
	int64_t wall_ms;
	int64_t took_us; /* how long the tick's reading and joining took */
	struct node_row node;
	struct pod_row *pods; /* sorted by tasks, most first */
	size_t n_pods, cap_pods;
	struct container_row *containers; /* of one pod side by side */
	size_t n_containers, cap_containers;
	struct cgroup_row *cgroups; /* sorted by tasks, most first; bounded */
	size_t n_cgroups, cap_cgroups;
	size_t cgroups_folded; /* rows left out by the bound, and the tasks in them */
	uint64_t cgroups_folded_tasks;
	struct source_state kubelet;
	char bpf_error[512]; /* why there are no counters; "" when there are */
};

void task_totals_add(struct task_totals *sum, const struct task_totals *more);
/* Keeps each count at least what it was @before: totals never fall. */
void task_totals_keep(struct task_totals *totals, const struct task_totals *before);

void snapshot_done(struct snapshot *snapshot);
/* Empties the rows and keeps their memory. */
void snapshot_reset(struct snapshot *snapshot);
/* New zeroed rows (totals 0, limits LIMIT_NONE), NULL without memory. A later call moves the array. */
struct pod_row *snapshot_add_pod(struct snapshot *snapshot);
struct container_row *snapshot_add_container(struct snapshot *snapshot);
struct cgroup_row *snapshot_add_cgroup(struct snapshot *snapshot);

#endif
