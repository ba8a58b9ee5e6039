/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The structs that BPF programs and user space both read: fixed widths, no hidden padding.
 * Refuses: pointers, bit fields, and anything whose size depends on an architecture.
 * tests/bpf/test_bpf_layout.c compares the object's BTF with this file as the C compiler sees it.
 */
#ifndef PIDWARDEN_BPF_SHARED_H
#define PIDWARDEN_BPF_SHARED_H

#ifdef __bpf__
#include "pidwarden_vmlinux.h"
#else
#include <linux/types.h>
#endif

/*
 * Slot numbers are css ids of the pids controller. The kernel gives them out from 1 (the root),
 * lowest free number first, and never 0 (cgroup_idr_alloc() in kernel/cgroup/cgroup.c), so slot 0
 * takes what belongs to no slot of its own.
 */
#define PW_OVERFLOW_SLOT 0
#define PW_SLOTS_DEFAULT 16384
#define PW_SLOTS_MAX 65536
#define PW_STRIPES_MAX 8
/* One byte of pw_used_groups stands for this many slots. */
#define PW_GROUP_SLOTS 64
#define PW_GROUPS_MAX (PW_SLOTS_MAX / PW_GROUP_SLOTS)

struct pw_counters {
	__u64 processes; /* created: clone without CLONE_THREAD */
	__u64 threads; /* created: clone with CLONE_THREAD */
	__u64 execs;
	__u64 exits; /* of every task, so processes and threads */
};
_Static_assert(sizeof(struct pw_counters) == 32, "shared with BPF");

enum pw_slot_state {
	PW_SLOT_LIVE = 0,
	/*
	 * A second cgroup came with the same css id: the owner's css is gone, its cgroup perhaps
	 * not.
	 */
	PW_SLOT_CONTESTED = 1,
	/* The owner's directory was removed, but the ring had no room for the fold. */
	PW_SLOT_GONE = 2,
};

struct pw_owner {
	__u64 cgroup_id; /* inode number of the directory; 0: the slot is free */
	__u64 parent_id; /* that of the parent's directory; 0 for the root */
	__u32 state; /* enum pw_slot_state */
	__u32 pad;
};
_Static_assert(sizeof(struct pw_owner) == 24, "shared with BPF");

/*
 * Every record of the ring `rare` opens with its kind, so that a reader can skip what it does not
 * know.
 */
enum pw_rare_kind {
	PW_RARE_FOLD = 1,
};

struct pw_fold {
	__u32 kind; /* PW_RARE_FOLD */
	__u32 css_id;
	__u64 cgroup_id;
	__u64 parent_id;
	struct pw_counters counters;
};
_Static_assert(sizeof(struct pw_fold) == 56, "shared with BPF");

enum pw_trip_limit {
	PW_TRIP_PID_ALLOCATED = 0,
	PW_TRIP_CGROUP_TASKS = 1,
	PW_TRIP_LIMITS = 2,
};

/*
 * One trip wire. User space writes armed_seq, BPF writes fired_seq, and the wire is armed while
 * they differ: with a single flag for both, a program that is late to say "fired" could undo a
 * new arming, and the kernels before 5.12 have no compare-and-exchange to prevent that.
 */
struct pw_wire {
	__u64 armed_seq;
	__u64 fired_seq;
	__u64 threshold;
	__u64 cgroup_id; /* PW_TRIP_CGROUP_TASKS: the watched cgroup */
};
_Static_assert(sizeof(struct pw_wire) == 32, "shared with BPF");

struct pw_settings {
	__u32 wires; /* bit (1 << enum pw_trip_limit): look at that wire */
	__u32 pad;
	struct pw_wire wire[PW_TRIP_LIMITS];
};
_Static_assert(sizeof(struct pw_settings) == 72, "shared with BPF");

struct pw_trip {
	__u32 limit; /* enum pw_trip_limit */
	__u32 tgid; /* of the forker, in the root PID namespace */
	__u64 seq; /* pw_wire.armed_seq as it was when the fork was seen */
	__u64 value;
	__u64 threshold;
	__u64 cgroup_id; /* pids cgroup that the new task was charged to */
	__u64 ktime_ns; /* CLOCK_MONOTONIC */
	char comm[16]; /* of the forker; any bytes */
};
_Static_assert(sizeof(struct pw_trip) == 64, "shared with BPF");

struct pw_errors {
	__u64 overflow_events; /* css id beyond the slots */
	__u64 slot_conflicts; /* slot owned by another cgroup: charged to the overflow slot */
	__u64 lost_folds; /* no room in the ring at rmdir; the slot keeps the counts */
	__u64 lost_trips; /* no room in the ring; the wire stays armed */
	__u64 failed_lookups; /* an array lookup gave NULL: must stay 0 */
};
_Static_assert(sizeof(struct pw_errors) == 40, "shared with BPF");

struct pw_node_pids {
	__u64 allocated; /* PIDs in use in the root PID namespace */
	__u64 pid_max; /* of the root PID namespace; 0 where the kernel has one pid_max for all */
	__u32 has_pids_controller; /* the kernel was built with CONFIG_CGROUP_PIDS */
	__u32 pad;
};
_Static_assert(sizeof(struct pw_node_pids) == 24, "shared with BPF");

#endif
