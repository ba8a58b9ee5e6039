/* SPDX-License-Identifier: Apache-2.0 */
/* A made-up node for the tests of agent/show: every field of the view filled in by hand. */
#ifndef PIDWARDEN_TESTS_SHOW_FIXTURE_H
#define PIDWARDEN_TESTS_SHOW_FIXTURE_H

#include <stdio.h>
#include <string.h>

#include "show/view.h"

struct show_fixture {
	struct snapshot snapshot;
	struct policy_decision decision;
	struct view view;
};

static inline struct pod_row *fixture_pod(struct show_fixture *fixture, const char *namespace,
					  const char *name, const char *builder, uint64_t tasks)
{
	struct pod_row *pod = snapshot_add_pod(&fixture->snapshot);

	snprintf(pod->namespace, sizeof(pod->namespace), "%s", namespace);
	snprintf(pod->name, sizeof(pod->name), "%s", name);
	snprintf(pod->builder, sizeof(pod->builder), "%s", builder);
	snprintf(pod->uid, sizeof(pod->uid), "uid-%zu", fixture->snapshot.n_pods);
	pod->known = namespace[0] != '\0';
	pod->is_build = builder[0] != '\0';
	pod->tasks = tasks;
	pod->first_container = fixture->snapshot.n_containers;
	return pod;
}

/* To the pod added last. */
static inline struct container_row *fixture_container(struct show_fixture *fixture,
						      const char *name, uint64_t tasks)
{
	struct container_row *container = snapshot_add_container(&fixture->snapshot);

	container->pod = fixture->snapshot.n_pods - 1;
	snprintf(container->name, sizeof(container->name), "%s", name);
	container->tasks = tasks;
	container->known = true;
	fixture->snapshot.pods[container->pod].n_containers++;
	return container;
}

static inline struct cgroup_row *fixture_cgroup(struct show_fixture *fixture, const char *path,
						uint64_t tasks)
{
	struct cgroup_row *cgroup = snapshot_add_cgroup(&fixture->snapshot);

	snprintf(cgroup->path, sizeof(cgroup->path), "%s", path);
	cgroup->tasks = tasks;
	return cgroup;
}

static const struct view_count fixture_results[] = {
	{ "applied", 3 },
	{ "refreshed", 17 },
	{ "withdrawn", 2 },
	{ "failed", 1 },
};
static const struct view_lever fixture_levers[] = {
	{
		.name = "webhook",
		.state = "in force",
		.target = "http://127.0.0.1:8080/throttle",
		.last_error = "",
		.left_ms = 42500,
		.results = fixture_results,
		.n_results = 4,
	},
};
static const struct view_program fixture_programs[] = {
	{ "count_new_task", 0.125, 1000000, 4 },
	{ "count_exit", 0.0625, 999000, 0 },
};
static const struct view_count fixture_lost[] = {
	{ "overflow", 0 },
	{ "slot_conflict", 5 },
};

/* A node with no pod and no cgroup yet. */
static inline void fixture_init(struct show_fixture *fixture)
{
	struct snapshot *snapshot = &fixture->snapshot;
	struct node_row *node = &snapshot->node;
	struct view *view = &fixture->view;

	memset(fixture, 0, sizeof(*fixture));
	snapshot->sequence = 7;
	snapshot->mono_ms = 100000;
	snapshot->wall_ms = 1795291784250; /* 2026-11-21T20:09:44.250Z */
	snapshot->took_us = 1500;
	snprintf(node->name, sizeof(node->name), "node-a");
	node->cgroup_mode = "v2";
	limit_set_add(&node->limits, LIMIT_SCOPE_NODE_PIDS, "pid_max", 6400, 32768);
	limit_set_add(&node->limits, LIMIT_SCOPE_NODE_THREADS, "threads_max", 6000, 126000);
	limit_set_add(&node->limits, LIMIT_SCOPE_CGROUP, "/kubepods", 5000, 20000);
	node->tasks = 6000;
	node->pids_allocated = 6400;
	node->pids_allocated_exact = true;
	node->pod_tasks = 5000;
	node->build_tasks = 4200;
	node->n_builds = 12;
	node->totals = (struct task_totals){ 900001, 800002, 700003, 600004 };
	node->counting = true;
	snapshot->kubelet = (struct source_state){
		.configured = true,
		.up = true,
		.ever = true,
		.last_good_wall_ms = 1795291784000,
		.requests = 20,
		.failures = 2,
		.items_skipped = 1,
	};
	fixture->decision.level = POLICY_THROTTLE;
	fixture->decision.throttle = true;
	fixture->decision.max_concurrent = 14;
	snprintf(fixture->decision.reason, sizeof(fixture->decision.reason),
		 "Running builds will take /kubepods to 19,200 of 20,000 tasks.");
	view->version = "0.1.0";
	view->mode = "throttle";
	view->snapshot = snapshot;
	view->decision = &fixture->decision;
	view->level_since_wall_ms = 1795291700000;
	view->forecast = (struct view_forecast){ true, -350, 14, 480 };
	view->levers = fixture_levers;
	view->n_levers = 1;
	view->programs = fixture_programs;
	view->n_programs = 2;
	view->lost_events = fixture_lost;
	view->n_lost_events = 2;
	view->sentinel.running = true;
	view->sentinel.wakeups = 6;
	view->sentinel.wakeup_seconds.n_bounds = 2;
	view->sentinel.wakeup_seconds.bounds[0] = 0.0001;
	view->sentinel.wakeup_seconds.bounds[1] = 0.02;
	view->sentinel.wakeup_seconds.counts[0] = 3;
	view->sentinel.wakeup_seconds.counts[1] = 2;
	view->sentinel.wakeup_seconds.counts[2] = 1;
	view->sentinel.wakeup_seconds.sum = 0.15;
	view->writer = (struct view_writer){ true, 3, 1, 2 };
	view->loop_longest_seconds = 0.004;
	view->process = (struct process_stats){ 1.5, 7340032, 30000000, UINT64_MAX,
						24,  1024,    3,	1795290000.25 };
}

static inline void fixture_done(struct show_fixture *fixture)
{
	snapshot_done(&fixture->snapshot);
}

#endif
