/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's own cost, as the kernel accounts it: the figures that Prometheus client libraries
 * export as process_*.
 * Refuses: any other process, and the --proc-root option: these are the agent's own files.
 */
#ifndef PIDWARDEN_SHOW_PROCESS_STATS_H
#define PIDWARDEN_SHOW_PROCESS_STATS_H

#include <stdint.h>

struct process_stats {
	double cpu_seconds; /* user and system time of all threads */
	uint64_t resident_bytes;
	uint64_t virtual_bytes;
	uint64_t max_virtual_bytes; /* UINT64_MAX: no limit */
	uint64_t open_fds;
	uint64_t max_fds; /* UINT64_MAX: no limit */
	uint64_t threads;
	double start_seconds; /* since the epoch */
};

/* 0, or -errno when /proc/self cannot be read; *ret_stats is then left as it was. */
int process_stats_read(struct process_stats *ret_stats);

/* The number of open files by listing /proc/self/fd: what process_stats_read() does before Linux
 * 6.2. Public so that a test on a newer kernel reaches it. */
int process_stats_list_fds(uint64_t *ret_n);

#endif
