/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The descriptor table: every metric's name, type, unit, labels, help and where its value lies.
 * The exposition and docs/metrics.md are both made from it. Names and labels are a public
 * interface: renaming one is a breaking change.
 * Refuses: rendering.
 */
#ifndef PIDWARDEN_SHOW_METRIC_TABLE_H
#define PIDWARDEN_SHOW_METRIC_TABLE_H

#include <stddef.h>

enum metric_type {
	METRIC_GAUGE,
	METRIC_COUNTER,
	METRIC_HISTOGRAM, /* value: not an offset, the sentinel's histogram is the only one */
};

/* What a metric has one sample for each of. */
enum metric_rows {
	METRIC_ONE, /* one sample, or none: struct metric_scalars */
	METRIC_AGE, /* appended at scrape time, not with the tick */
	METRIC_INFO, /* from here on struct metric_row */
	METRIC_LIMIT,
	METRIC_BINDING,
	METRIC_POD,
	METRIC_CONTAINER,
	METRIC_CGROUP,
	METRIC_LEVER,
	METRIC_PROGRAM,
	METRIC_LOST,
	METRIC_ROWS_N,
};

/*
 * All values are doubles, as in Prometheus itself (counts are exact up to 2^53); NaN means that
 * there is nothing to say, and no sample is written.
 */
struct metric_scalars {
	double effective_headroom;
	double limits_dropped;
	double tasks;
	double pids_allocated;
	double processes_created, threads_created, execs, exits;
	double counting;
	double pods, pods_unidentified, pod_tasks;
	double builds, build_tasks;
	double cgroups_folded, cgroups_folded_tasks;
	double level, level_since, throttle_active, max_concurrent;
	double budget, expected_headroom, pids_per_build;
	double kubelet_up, kubelet_last_success, kubelet_requests, kubelet_failures,
		kubelet_items_skipped;
	double snapshot_sequence, snapshot_time, tick_seconds, loop_longest;
	double sentinel_realtime, sentinel_wakeups;
	double writer_queued, writer_dropped, writer_failed;
	double cpu_seconds, resident_bytes, virtual_bytes, max_virtual_bytes, open_fds, max_fds,
		threads, start_seconds;
};

/* Rows with the same labels are added up field by field (limits: the tighter one stays). */
struct metric_row {
	double tasks;
	double limit;
	double processes_created, threads_created, execs, exits;
	double used, max, headroom; /* METRIC_LIMIT */
	double count; /* METRIC_LEVER, METRIC_LOST; 1 for METRIC_INFO and METRIC_BINDING */
	double run_seconds, runs, recursion_misses; /* METRIC_PROGRAM */
};

struct metric {
	const char *name;
	enum metric_type type;
	enum metric_rows rows;
	size_t offset; /* of a double in metric_scalars or metric_row */
	const char *unit;
	const char *labels; /* comma separated, "" none */
	const char *help; /* one line without backslash */
	const char *cardinality; /* how many series there can be; "" one */
};

extern const struct metric metric_table[];
extern const size_t metric_table_n;

#endif
