/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The emergency thread: waits for the kernel's trip wire and is awake within microseconds where
 * SCHED_FIFO is granted. It tells the main loop, which then looks at the node at once instead of at
 * its next tick.
 * Refuses: to allocate, to log, and to wait for anything but the trip ring.
 */
#ifndef PIDWARDEN_SENTINEL_H
#define PIDWARDEN_SENTINEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared.h"

struct bpf_probe;
struct sentinel;

#define SENTINEL_BUCKETS 14

struct sentinel_stats {
	bool realtime; /* SCHED_FIFO was granted */
	bool locked; /* its stack and state are locked in memory */
	uint64_t wakeups; /* trips received */
	uint64_t lost; /* trips that the main loop had no room for */
	/* From the fork that crossed the wire to this thread running: counts by upper bound. */
	uint64_t latency_counts[SENTINEL_BUCKETS + 1];
	uint64_t latency_sum_ns;
};

/* Upper bounds of the latency buckets in ns, SENTINEL_BUCKETS of them. */
extern const uint64_t sentinel_bounds_ns[SENTINEL_BUCKETS];

/* Starts the thread on @probe's trip ring. The probe must outlive it. */
int sentinel_new(struct bpf_probe *probe, struct sentinel **ret_sentinel);
void sentinel_free(struct sentinel *sentinel);

/* Readable for the main loop after a trip. */
int sentinel_event_fd(const struct sentinel *sentinel);
/* The next trip not yet taken; false when there is none (and the event is made quiet). */
bool sentinel_take(struct sentinel *sentinel, struct pw_trip *ret_trip);
void sentinel_stats(const struct sentinel *sentinel, struct sentinel_stats *ret_stats);

#endif
