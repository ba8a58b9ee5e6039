// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Counts what every pids cgroup creates and ends, and watches two limits while a fork is under way.
 * Refuses: streaming events. Totals live in maps; a ring buffer record is a rare thing.
 */
#include "pidwarden_vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "compat.bpf.h"
#include "maps.bpf.h"
#include "shared.h"

/*
 * The depth of Kubernetes' cgroups is 5 to 7 (kubepods, QoS class, pod, container, and what runs
 * inside).
 */
#define WALK_MAX 16

enum event {
	EVENT_PROCESS,
	EVENT_THREAD,
	EVENT_EXEC,
	EVENT_EXIT,
};

/* The sum is not used: without BPF_FETCH this is the BPF_XADD that kernels before 5.12 know. */
static __always_inline void add(u64 *counter, u64 n)
{
	(void)__sync_fetch_and_add(counter, n);
}

static __always_inline u64 css_parent_id(const struct cgroup_subsys_state *css)
{
	const struct cgroup_subsys_state *parent = css->parent;

	return parent ? css_cgroup_id(parent) : 0;
}

static __always_inline void claim(struct pw_owner *owner, const struct cgroup_subsys_state *css,
				  u64 cgroup_id, u32 slot)
{
	u32 group = slot / PW_GROUP_SLOTS;

	/* CPUs that claim at the same time write the same values: a css id has one live owner. */
	owner->parent_id = css_parent_id(css);
	/*
	 * A CPU that saw the former owner may have said "contested" after user space emptied the
	 * slot.
	 */
	owner->state = PW_SLOT_LIVE;
	owner->cgroup_id = cgroup_id;
	if (group < PW_GROUPS_MAX)
		pw_used_groups[group] = 1;
}

/* The slot to charge an event of @css to; the overflow slot when it has none of its own. */
static __always_inline u32 charged_slot(const struct cgroup_subsys_state *css)
{
	u32 slot = (u32)css->id;
	struct pw_owner *owner;
	u64 cgroup_id;

	if (slot == PW_OVERFLOW_SLOT || slot >= pw_slots) {
		add(&pw_errors.overflow_events, 1);
		return PW_OVERFLOW_SLOT;
	}
	owner = bpf_map_lookup_elem(&owners, &slot);
	if (!owner) {
		add(&pw_errors.failed_lookups, 1);
		return PW_OVERFLOW_SLOT;
	}
	cgroup_id = css_cgroup_id(css);
	if (owner->cgroup_id == cgroup_id)
		return slot;
	if (owner->cgroup_id == 0) {
		claim(owner, css, cgroup_id, slot);
		return slot;
	}
	/*
	 * The css id went to another cgroup without a fold between: the ring was full at rmdir,
	 * or pids was taken out of cgroup.subtree_control, which removes the css and not the
	 * directory. User space empties the slot; until then the counts must not mix.
	 */
	if (owner->state == PW_SLOT_LIVE)
		owner->state = PW_SLOT_CONTESTED;
	add(&pw_errors.slot_conflicts, 1);
	return PW_OVERFLOW_SLOT;
}

static __always_inline void count(const struct cgroup_subsys_state *css, enum event event)
{
	u32 stripe = bpf_get_smp_processor_id() & pw_stripe_mask;
	u32 index = stripe * pw_slots + charged_slot(css);
	struct pw_counters *value;

	value = bpf_map_lookup_elem(&counters, &index);
	if (!value) {
		add(&pw_errors.failed_lookups, 1);
		return;
	}
	switch (event) {
	case EVENT_PROCESS:
		add(&value->processes, 1);
		break;
	case EVENT_THREAD:
		add(&value->threads, 1);
		break;
	case EVENT_EXEC:
		add(&value->execs, 1);
		break;
	case EVENT_EXIT:
		add(&value->exits, 1);
		break;
	}
}

/*
 * One record per arming: CPUs that cross at the same moment may each send one, with the same seq,
 * and the reader keeps the first. @seq was read before the other fields of the wire and armed_seq
 * is written after them, so that a record mixed from two armings carries the older seq and is
 * discarded.
 */
static __always_inline void trip(struct pw_wire *wire, u32 limit, u64 seq, u64 value, u64 threshold,
				 u64 cgroup_id)
{
	struct pw_trip *record;

	record = bpf_ringbuf_reserve(&trips, sizeof(*record), 0);
	if (!record) {
		/* Still armed: the next fork tries again. */
		add(&pw_errors.lost_trips, 1);
		return;
	}
	*(volatile u64 *)&wire->fired_seq = seq;
	record->limit = limit;
	record->tgid = (u32)(bpf_get_current_pid_tgid() >> 32);
	record->seq = seq;
	record->value = value;
	record->threshold = threshold;
	record->cgroup_id = cgroup_id;
	record->ktime_ns = bpf_ktime_get_ns();
	bpf_get_current_comm(record->comm, sizeof(record->comm));
	bpf_ringbuf_submit(record, BPF_RB_FORCE_WAKEUP);
}

static __always_inline void watch_pid_allocated(struct task_struct *task,
						const struct cgroup_subsys_state *css)
{
	struct pw_wire *wire = &pw_settings.wire[PW_TRIP_PID_ALLOCATED];
	u64 seq = *(volatile u64 *)&wire->armed_seq;
	u64 threshold, allocated;

	if (seq == *(volatile u64 *)&wire->fired_seq)
		return;
	threshold = *(volatile u64 *)&wire->threshold;
	allocated = task_root_pid_allocated(task);
	if (allocated >= threshold)
		trip(wire, PW_TRIP_PID_ALLOCATED, seq, allocated, threshold, css_cgroup_id(css));
}

static __always_inline void watch_cgroup_tasks(const struct cgroup_subsys_state *css)
{
	struct pw_wire *wire = &pw_settings.wire[PW_TRIP_CGROUP_TASKS];
	u64 seq = *(volatile u64 *)&wire->armed_seq;
	const struct cgroup_subsys_state *at = css;
	u64 watched, threshold, tasks;
	int i;

	if (seq == *(volatile u64 *)&wire->fired_seq)
		return;
	watched = *(volatile u64 *)&wire->cgroup_id;
	threshold = *(volatile u64 *)&wire->threshold;
	for (i = 0; i < WALK_MAX && at; i++) {
		if (css_cgroup_id(at) == watched) {
			tasks = css_pids_counter(at);
			if (tasks >= threshold)
				trip(wire, PW_TRIP_CGROUP_TASKS, seq, tasks, threshold,
				     css_cgroup_id(css));
			return;
		}
		at = at->parent;
	}
}

/*
 * copy_process()
 *   cgroup_can_fork()        charges pids.current, the child's cgroup with CLONE_INTO_CGROUP
 *   cgroup_post_fork()       the child is in its css_set: its cgroup cannot be removed any more
 *   trace_task_newtask()     here; nothing can fail after it
 * sched_process_fork fires later and misses io_uring workers.
 */
SEC("tp_btf/task_newtask")
int BPF_PROG(pw_newtask, struct task_struct *task, u64 clone_flags)
{
	struct cgroup_subsys_state *css = task_pids_css(task);
	u32 wires;

	if (!css)
		return 0;
	count(css, clone_flags & CLONE_THREAD ? EVENT_THREAD : EVENT_PROCESS);
	wires = *(volatile u32 *)&pw_settings.wires;
	if (!wires)
		return 0;
	if (wires & (1 << PW_TRIP_PID_ALLOCATED))
		watch_pid_allocated(task, css);
	if (wires & (1 << PW_TRIP_CGROUP_TASKS))
		watch_cgroup_tasks(css);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(pw_exec, struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_pids_css(task);

	if (css)
		count(css, EVENT_EXEC);
	return 0;
}

/*
 * do_exit()
 *   trace_sched_process_exit()   here, for every thread
 *   cgroup_exit()                from now on the cgroup may be removed
 * So every exit is counted before the fold of its cgroup.
 */
SEC("tp_btf/sched_process_exit")
int BPF_PROG(pw_exit, struct task_struct *task)
{
	struct cgroup_subsys_state *css = task_pids_css(task);

	if (css)
		count(css, EVENT_EXIT);
	return 0;
}

/*
 * Adds one counter of all stripes up and takes off what it saw: an event that comes late (a task
 * moved out of the cgroup between two instructions of count()) is kept, not overwritten.
 */
static __always_inline u64 take(u64 *counter)
{
	u64 value = *(volatile u64 *)counter;

	if (value)
		add(counter, -value);
	return value;
}

static __always_inline void take_slot(u32 slot, struct pw_counters *sum)
{
	struct pw_counters *value;
	u32 stripe, index;

	for (stripe = 0; stripe < PW_STRIPES_MAX; stripe++) {
		if (stripe > pw_stripe_mask)
			break;
		index = stripe * pw_slots + slot;
		value = bpf_map_lookup_elem(&counters, &index);
		if (!value) {
			add(&pw_errors.failed_lookups, 1);
			break;
		}
		sum->processes += take(&value->processes);
		sum->threads += take(&value->threads);
		sum->execs += take(&value->execs);
		sum->exits += take(&value->exits);
	}
}

/*
 * cgroup_rmdir()
 *   cgroup_kn_lock_live()         cgroup_mutex
 *   cgroup_destroy_locked()       no task left; kill_css() queues css_killed_work_fn(), whose
 *                                 offline_css() clears cgrp->subsys[], and which needs cgroup_mutex
 *   trace_cgroup_rmdir()          here, so subsys[] and the css id are still the cgroup's own
 *   cgroup_kn_unlock()
 * The css id may be given to the next cgroup a moment later: what is not folded now would be
 * mixed up.
 *
 * A cgroup that never had an event is reported, too: user space hands its removed children's
 * counts on to the parent at that moment.
 */
SEC("tp_btf/cgroup_rmdir")
int BPF_PROG(pw_rmdir, struct cgroup *cgrp)
{
	struct cgroup_subsys_state *css = cgroup_pids_css(cgrp);
	struct pw_owner *owner = NULL;
	struct pw_fold *fold;
	u64 cgroup_id;
	u32 slot;

	if (!css)
		return 0;
	cgroup_id = css_cgroup_id(css);
	slot = (u32)css->id;
	if (slot != PW_OVERFLOW_SLOT && slot < pw_slots)
		owner = bpf_map_lookup_elem(&owners, &slot);

	fold = bpf_ringbuf_reserve(&rare, sizeof(*fold), 0);
	if (!fold) {
		/* Leave the counts where they are and say so; user space takes them from there. */
		if (owner && owner->cgroup_id == 0)
			claim(owner, css, cgroup_id, slot);
		if (owner && owner->cgroup_id == cgroup_id)
			owner->state = PW_SLOT_GONE;
		add(&pw_errors.lost_folds, 1);
		return 0;
	}
	fold->kind = PW_RARE_FOLD;
	fold->css_id = slot;
	fold->cgroup_id = cgroup_id;
	fold->parent_id = css_parent_id(css);
	__builtin_memset(&fold->counters, 0, sizeof(fold->counters));
	if (owner && owner->cgroup_id == cgroup_id) {
		struct pw_counters sum = {};

		take_slot(slot, &sum);
		fold->counters = sum;
		owner->state = PW_SLOT_LIVE;
		owner->cgroup_id = 0;
	}
	/* Last: whoever reads the record finds the slot empty already and cannot count it twice. */
	bpf_ringbuf_submit(fold, 0);
	return 0;
}

/*
 * Never attached: user space runs it by BPF_PROG_TEST_RUN when it wants the figures (5.10 and
 * later). There are no typed loads from bpf_get_current_task(), and its typed sibling came with
 * 5.11.
 */
SEC("raw_tp")
int pw_node(void *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct pid_namespace *ns;

	ns = BPF_CORE_READ(task, thread_pid, numbers[0].ns);
	pw_node_pids.allocated = BPF_CORE_READ(ns, pid_allocated) & ~PIDNS_ADDING;
	/*
	 * Per namespace since 7863dcc72d0f "pid: allow pid_max to be set per pid namespace"
	 * (6.14).
	 */
	if (bpf_core_field_exists(ns->pid_max))
		pw_node_pids.pid_max = (u64)BPF_CORE_READ(ns, pid_max);
	pw_node_pids.has_pids_controller = has_pids_controller();
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
