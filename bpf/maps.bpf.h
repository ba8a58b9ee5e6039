/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maps, settings and error counters of the programs.
 * Refuses: logic.
 */
#ifndef PIDWARDEN_MAPS_BPF_H
#define PIDWARDEN_MAPS_BPF_H

#include "shared.h"

#include <bpf/bpf_helpers.h>

/* Set between open and load. Powers of two; the counters array has stripes * slots entries. */
const volatile __u32 pw_slots = PW_SLOTS_DEFAULT;
const volatile __u32 pw_stripe_mask;

/*
 * Changed at run time through the mapping of .bss: no system call, so the sentinel may do it,
 * too.
 */
struct pw_settings pw_settings;

struct pw_errors pw_errors;
struct pw_node_pids pw_node_pids;

/*
 * Ring records appear in no map's type: without a mention like this their layout would be missing
 * from the object's BTF, and the layout test could not see it.
 */
const struct pw_fold *pw_fold_type;
const struct pw_trip *pw_trip_type;

/*
 * A group of slots in which a slot was ever claimed: what the reader has to look at. A byte that
 * is only ever set to 1 needs no atomic maximum, which a high-water mark would (and 5.10 has
 * none).
 */
__u8 pw_used_groups[PW_GROUPS_MAX];

/*
 * Stripe-major: index = stripe * pw_slots + css id, so that CPUs in different stripes never share
 * a cache line. A plain array and not a per-CPU one: that cannot be mmapped, and takes memory per
 * possible CPU.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pw_counters);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct pw_owner);
} owners SEC(".maps");

/* Read by the sentinel alone. A trip is 64 bytes and there is one per arming and CPU at most. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} trips SEC(".maps");

/* Read by the main loop. Room for 4096 folds, about what a second of rmdir on two CPUs makes. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} rare SEC(".maps");

#endif
