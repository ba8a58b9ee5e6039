/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every surface shows, as one set of plain values: metrics, JSON and page are made from this
 * and from nothing else, so that they agree with each other.
 * Refuses: ownership. The agent fills it once a tick; every pointer needs to live only until the
 * renderers return.
 */
#ifndef PIDWARDEN_SHOW_VIEW_H
#define PIDWARDEN_SHOW_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/policy.h"
#include "core/snapshot.h"
#include "show/process_stats.h"

/* A named count: the results of a lever, the kinds of lost events. */
struct view_count {
	const char *name;
	uint64_t value;
};

struct view_lever {
	const char *name; /* "webhook" */
	const char *state; /* one word or sentence: "idle", "in force", "would limit builds to 4" */
	const char *target; /* what it acts on, without credentials; "" none */
	const char *last_error; /* "" when the last action went well */
	int64_t left_ms; /* until it expires by itself; -1: nothing in force */
	const struct view_count *results; /* "applied", "refreshed", "withdrawn", "failed", ... */
	size_t n_results;
};

struct view_program {
	const char *name; /* of the BPF program, as bpftool shows it */
	double run_seconds; /* run_time_ns of the kernel; grows only while statistics are on */
	uint64_t runs;
	uint64_t recursion_misses;
};

#define VIEW_BUCKETS_MAX 24

/* Counts by upper bound, not cumulated; the last one holds what is above every bound. */
struct view_histogram {
	double bounds[VIEW_BUCKETS_MAX];
	uint64_t counts[VIEW_BUCKETS_MAX + 1];
	size_t n_bounds;
	double sum;
};

struct view_sentinel {
	bool running;
	bool realtime; /* SCHED_FIFO was granted */
	uint64_t wakeups;
	struct view_histogram wakeup_seconds;
};

struct view_writer {
	bool running;
	uint64_t queued; /* lines waiting now */
	uint64_t dropped; /* lines lost to a full queue since the start */
	uint64_t failed; /* writes that the kernel refused since then */
};

struct view_forecast {
	bool known; /* false: no build was seen yet and no default applies */
	int64_t expected_headroom; /* as struct policy_input has it */
	uint64_t budget;
	uint64_t pids_per_build; /* high percentile under the binding limit */
};

struct view {
	const char *version;
	const char *mode; /* "observe" or "throttle" */
	const struct snapshot *snapshot; /* never NULL; sequence 0 before the first full one */
	/* NULL before the first decision. */
	const struct policy_decision *decision;
	int64_t level_since_wall_ms; /* 0: not known */
	struct view_forecast forecast;
	const struct view_lever *levers;
	size_t n_levers;
	const struct view_program *programs;
	size_t n_programs;
	const struct view_count *lost_events; /* "overflow", "slot_conflict", "fold", "trip" */
	size_t n_lost_events;
	struct view_sentinel sentinel;
	struct view_writer writer;
	double loop_longest_seconds; /* the longest round since the last tick */
	struct process_stats process;
};

#endif
