/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the bpf_probe*.c files share.
 * Refuses: inclusion by anybody else.
 */
#ifndef PIDWARDEN_READ_BPF_PROBE_PRIVATE_H
#define PIDWARDEN_READ_BPF_PROBE_PRIVATE_H

#include <bpf/libbpf.h>

#include "read/bpf_probe.h"

/* After shared.h: the skeleton uses its structs and does not define them. */
#include "pidwarden.skel.h"

#define BPF_PROBE_PROGRAMS 5

struct bpf_probe {
	struct pidwarden_bpf *skel;
	uint32_t slots;
	uint32_t stripes;
	struct pw_counters *counters; /* the mapped map: stripes * slots */
	size_t counters_bytes;
	struct pw_owner *owners; /* the mapped map: slots */
	size_t owners_bytes;
	const struct bpf_program *programs[BPF_PROBE_PROGRAMS];
	int stats_fd;

	/* The main thread's. */
	struct ring_buffer *rare;
	struct cgroup_totals *draining; /* only during a drain */
	uint64_t lost_folds_seen;

	/* The trip thread's. */
	struct ring_buffer *trips;
	bpf_probe_trip_fn trip_fn;
	void *trip_data;
	int trip_calls;
	uint64_t trip_seq[PW_TRIP_LIMITS]; /* the last one delivered */
};

/* Ring callbacks. */
int bpf_probe_on_rare(void *ctx, void *data, size_t size);
int bpf_probe_on_trip(void *ctx, void *data, size_t size);

#endif
