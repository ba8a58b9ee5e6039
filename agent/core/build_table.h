/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The builds seen on the node, one life cycle per builder: what the snapshots of many ticks teach.
 * Refuses: to decide who is a build (core/builders does) and how many may run (core/budget).
 */
#ifndef PIDWARDEN_CORE_BUILD_TABLE_H
#define PIDWARDEN_CORE_BUILD_TABLE_H

#include <stddef.h>
#include <stdint.h>

#include "core/budget.h"
#include "core/snapshot.h"

struct build_table;

struct build_table_totals {
	uint64_t started, ended; /* builds seen to appear, and to end */
};

/* @prior_tasks: of one build at its height, its sandbox included, until enough were seen. -ENOMEM. */
int build_table_new(double prior_tasks, struct build_table **ret_table);
void build_table_free(struct build_table *table);

/*
 * Learns from one full snapshot: every pod row marked as a build is observed, builds that are gone
 * have ended. -ENOMEM: some rows were left out.
 */
int build_table_update(struct build_table *table, const struct snapshot *snapshot);

/*
 * The running builds for budget_plan(). Pods that the kubelet has not named yet and that are younger
 * than @unknown_ms count as builds with the prior: on a node that builds, most are. Valid until the
 * next update.
 */
int build_table_running(struct build_table *table, const struct snapshot *snapshot,
			int64_t unknown_ms, const struct budget_build **ret_builds, size_t *ret_n);
/* The life cycle of the builder that has most builds running, of any seen if none runs, else the
 * prior's. Never NULL. */
const struct lifecycle *build_table_typical(const struct build_table *table);
/* Highest number of tasks seen of the build in pod @uid, 0 unknown. */
uint64_t build_table_peak(const struct build_table *table, const char *uid);
void build_table_totals(const struct build_table *table, struct build_table_totals *ret_totals);

#endif
