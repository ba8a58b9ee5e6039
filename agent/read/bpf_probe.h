/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The BPF programs as user space sees them: load, attach, read the counters, receive folds and
 * trips.
 * Refuses: logging (reasons are returned), deciding what a count means, and any thread of its
 * own.
 *
 * Threads: everything belongs to the main thread, except bpf_probe_trip_*(), which belong to one
 * other thread (the sentinel), and bpf_probe_arm_*(), which either may call as long as one wire
 * is armed by one thread. The two sides share nothing but the kernel's memory.
 */
#ifndef PIDWARDEN_READ_BPF_PROBE_H
#define PIDWARDEN_READ_BPF_PROBE_H

#include <stddef.h>
#include <stdint.h>

#include "core/cgroup_totals.h"
#include "shared.h"

struct bpf_probe;

struct bpf_probe_options {
	/*
	 * Slots for cgroups, a power of two, PW_GROUP_SLOTS..PW_SLOTS_MAX. 0: PW_SLOTS_DEFAULT. A
	 * slot takes 32 bytes of kernel memory per stripe (CPUs, at most 8) and 24 more.
	 */
	uint32_t slots;
	/* Size of the ring of folds, a power of two of at least 4096. 0: 256 KiB. */
	uint32_t rare_ring_bytes;
};

struct bpf_probe_error {
	int err; /* negative errno */
	char text[512]; /* for an operator: what is missing, and what works without it */
	char detail[512]; /* the last words of libbpf, "" if it said nothing */
};

/*
 * Opens, loads and attaches. @options may be NULL. On failure returns ret_why->err and fills
 * @ret_why; nothing stays loaded. Not to be called by two threads at once (libbpf has one print
 * callback).
 */
int bpf_probe_new(const struct bpf_probe_options *options, struct bpf_probe **ret_probe,
		  struct bpf_probe_error *ret_why);
void bpf_probe_free(struct bpf_probe *probe);

/* --- counters --- */

/* An epoll descriptor, readable when cgroups were removed: then call bpf_probe_drain(). */
int bpf_probe_rare_fd(const struct bpf_probe *probe);
/* Takes the folds that wait into @totals. Number of records, or -errno. */
int bpf_probe_drain(struct bpf_probe *probe, struct cgroup_totals *totals);
/*
 * A tick's work: folds, live slots, slots whose fold was lost or whose css id went to another
 * cgroup (these it empties), overflow slot. Calls cgroup_totals_begin() and _end(). Call
 * cgroup_totals_settle() after it, never between a drain and it.
 */
int bpf_probe_update(struct bpf_probe *probe, struct cgroup_totals *totals);
/*
 * Folds the slots of a cgroup whose directory is gone although no fold came (a lost rmdir event),
 * and marks it gone in @totals. Never call it for one that exists. 0, or -ENOENT when neither
 * knew it.
 */
int bpf_probe_reclaim(struct bpf_probe *probe, uint64_t cgroup_id, struct cgroup_totals *totals);

uint32_t bpf_probe_slots(const struct bpf_probe *probe);
/* One slot, its stripes summed. -ENOENT: no owner. -EAGAIN: it changed hands meanwhile. -ERANGE. */
int bpf_probe_read_slot(const struct bpf_probe *probe, uint32_t slot, struct pw_owner *ret_owner,
			struct pw_counters *ret_counters);
/* The slot owned by @cgroup_id. -ENOENT: it has had no event yet. */
int bpf_probe_slot_of(const struct bpf_probe *probe, uint64_t cgroup_id, uint32_t *ret_slot);
/* Growing since load; all but overflow_events mean that something was lost or came late. */
void bpf_probe_errors(const struct bpf_probe *probe, struct pw_errors *ret_errors);

/* --- the node's PIDs --- */

/*
 * PIDs in use in the root PID namespace (more than tasks: see docs on session leaders), and its
 * pid_max; 0 where the kernel has one pid_max for all namespaces (before 6.14). About 1 us.
 * -EOPNOTSUPP on kernels before 5.10.
 */
int bpf_probe_node_pids(struct bpf_probe *probe, uint64_t *ret_allocated, uint64_t *ret_pid_max);

/* --- trip wires --- */

/*
 * Arms the wire: the first fork that finds PIDs in use (tasks in the cgroup, descendants
 * included) at or above @threshold sends one trip. Calling it again re-arms a wire that has
 * fired; one that has not keeps waiting, with the new threshold. Threshold 0 disarms. No system
 * call, no allocation.
 */
void bpf_probe_arm_pid_allocated(struct bpf_probe *probe, uint64_t threshold);
void bpf_probe_arm_cgroup(struct bpf_probe *probe, uint64_t cgroup_id, uint64_t threshold);

typedef void (*bpf_probe_trip_fn)(const struct pw_trip *trip, void *data);

/* An epoll descriptor, readable when a wire has been crossed. */
int bpf_probe_trip_fd(const struct bpf_probe *probe);
/*
 * Calls @fn for each trip of the present arming; one arming gives one. Number of calls, or
 * -errno.
 */
int bpf_probe_trip_consume(struct bpf_probe *probe, bpf_probe_trip_fn fn, void *data);
/*
 * The same after waiting up to @timeout_ms (-1: for ever). 0: nothing came. -EINTR: a signal did.
 */
int bpf_probe_trip_wait(struct bpf_probe *probe, int timeout_ms, bpf_probe_trip_fn fn, void *data);

/* --- what it costs --- */

struct bpf_probe_cost {
	char name[16];
	uint64_t run_time_ns; /* grows only while statistics are enabled */
	uint64_t run_cnt;
	uint64_t recursion_misses; /* lost events; kernel 5.12 and later, else 0 */
};

/* @index from 0; -ENOENT after the last program. */
int bpf_probe_cost(const struct bpf_probe *probe, size_t index, struct bpf_probe_cost *ret_cost);
/*
 * Run time statistics of *all* BPF programs of the machine, about 20 ns a run: sample, do not
 * leave on. -EPERM: needs CAP_SYS_ADMIN.
 */
int bpf_probe_stats_enable(struct bpf_probe *probe);
void bpf_probe_stats_disable(struct bpf_probe *probe);

#endif
