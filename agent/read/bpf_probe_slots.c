// SPDX-License-Identifier: Apache-2.0
/*
 * The counters' side of the probe: slots, folds, and the slots that user space has to empty itself.
 */
#include <errno.h>
#include <stdbool.h>

#include "read/bpf_probe_private.h"

uint32_t bpf_probe_slots(const struct bpf_probe *probe)
{
	return probe->slots;
}

static struct task_totals to_totals(const struct pw_counters *counters)
{
	return (struct task_totals){
		.processes_created = counters->processes,
		.threads_created = counters->threads,
		.execs = counters->execs,
		.exits = counters->exits,
	};
}

static void sum_stripes(const struct bpf_probe *probe, uint32_t slot, struct pw_counters *ret_sum)
{
	struct pw_counters sum = { 0 };
	uint32_t stripe;

	for (stripe = 0; stripe < probe->stripes; stripe++) {
		const struct pw_counters *at =
			&probe->counters[(size_t)stripe * probe->slots + slot];

		sum.processes += __atomic_load_n(&at->processes, __ATOMIC_RELAXED);
		sum.threads += __atomic_load_n(&at->threads, __ATOMIC_RELAXED);
		sum.execs += __atomic_load_n(&at->execs, __ATOMIC_RELAXED);
		sum.exits += __atomic_load_n(&at->exits, __ATOMIC_RELAXED);
	}
	*ret_sum = sum;
}

int bpf_probe_read_slot(const struct bpf_probe *probe, uint32_t slot, struct pw_owner *ret_owner,
			struct pw_counters *ret_counters)
{
	const struct pw_owner *owner;
	struct pw_counters sum;
	uint64_t id;

	if (slot >= probe->slots)
		return -ERANGE;
	owner = &probe->owners[slot];
	id = __atomic_load_n(&owner->cgroup_id, __ATOMIC_ACQUIRE);
	if (id == 0)
		return -ENOENT;
	sum_stripes(probe, slot, &sum);
	/*
	 * The sum belongs to @id only if the slot was not emptied and claimed by the next
	 * meanwhile. One that is being emptied gives too little, which cgroup_totals is prepared
	 * for.
	 */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	if (__atomic_load_n(&owner->cgroup_id, __ATOMIC_RELAXED) != id)
		return -EAGAIN;
	*ret_owner = (struct pw_owner){
		.cgroup_id = id,
		.parent_id = __atomic_load_n(&owner->parent_id, __ATOMIC_RELAXED),
		.state = __atomic_load_n(&owner->state, __ATOMIC_RELAXED),
	};
	*ret_counters = sum;
	return 0;
}

/* First slot at or after @slot in a group that was ever used; probe->slots at the end. */
static uint32_t next_used(const struct bpf_probe *probe, uint32_t slot)
{
	const __u8 *used = probe->skel->bss->pw_used_groups;

	while (slot < probe->slots) {
		if (__atomic_load_n(&used[slot / PW_GROUP_SLOTS], __ATOMIC_RELAXED))
			return slot;
		slot = (slot / PW_GROUP_SLOTS + 1) * PW_GROUP_SLOTS;
	}
	return probe->slots;
}

#define for_each_used_slot(slot, probe)                               \
	for ((slot) = next_used((probe), 0); (slot) < (probe)->slots; \
	     (slot) = next_used((probe), (slot) + 1))

int bpf_probe_slot_of(const struct bpf_probe *probe, uint64_t cgroup_id, uint32_t *ret_slot)
{
	uint32_t slot;

	for_each_used_slot(slot, probe)
	{
		if (__atomic_load_n(&probe->owners[slot].cgroup_id, __ATOMIC_RELAXED) ==
		    cgroup_id) {
			*ret_slot = slot;
			return 0;
		}
	}
	return -ENOENT;
}

static uint64_t take(__u64 *counter)
{
	return __atomic_exchange_n(counter, 0, __ATOMIC_RELAXED);
}

/*
 * Empties a slot whose owner's css is dead: BPF sends the events of whoever has the css id now to
 * the overflow slot, until the owner is cleared, which is why that comes last.
 */
static void empty_slot(struct bpf_probe *probe, uint32_t slot, bool gone,
		       struct cgroup_totals *totals)
{
	struct pw_owner *owner = &probe->owners[slot];
	uint64_t id = __atomic_load_n(&owner->cgroup_id, __ATOMIC_RELAXED);
	uint64_t parent_id = __atomic_load_n(&owner->parent_id, __ATOMIC_RELAXED);
	struct task_totals taken = { 0 };
	uint32_t stripe;

	for (stripe = 0; stripe < probe->stripes; stripe++) {
		struct pw_counters *at = &probe->counters[(size_t)stripe * probe->slots + slot];

		taken.processes_created += take(&at->processes);
		taken.threads_created += take(&at->threads);
		taken.execs += take(&at->execs);
		taken.exits += take(&at->exits);
	}
	__atomic_store_n(&owner->state, PW_SLOT_LIVE, __ATOMIC_RELAXED);
	__atomic_store_n(&owner->cgroup_id, 0, __ATOMIC_RELEASE);
	cgroup_totals_fold(totals, id, parent_id, &taken, gone);
}

static uint64_t lost_folds(const struct bpf_probe *probe)
{
	return __atomic_load_n(&probe->skel->bss->pw_errors.lost_folds, __ATOMIC_ACQUIRE);
}

/* The slots whose fold found no room in the ring. */
static void empty_gone_slots(struct bpf_probe *probe, struct cgroup_totals *totals)
{
	uint64_t lost = lost_folds(probe);
	uint32_t slot;

	if (lost == probe->lost_folds_seen)
		return;
	/* Remembered before the look: what is lost during it is found by the next. */
	probe->lost_folds_seen = lost;
	for_each_used_slot(slot, probe)
	{
		if (__atomic_load_n(&probe->owners[slot].state, __ATOMIC_RELAXED) == PW_SLOT_GONE)
			empty_slot(probe, slot, true, totals);
	}
}

int bpf_probe_on_rare(void *ctx, void *data, size_t size)
{
	struct bpf_probe *probe = ctx;
	const struct pw_fold *fold = data;
	struct task_totals counts;

	if (size < sizeof(*fold) || fold->kind != PW_RARE_FOLD)
		return 0;
	/* A child is removed before its parent: if the child's fold was lost, its counts must be in
	 * @totals before the parent's record hands everything on to the grandparent. */
	empty_gone_slots(probe, probe->draining);
	counts = to_totals(&fold->counters);
	cgroup_totals_fold(probe->draining, fold->cgroup_id, fold->parent_id, &counts, true);
	return 0;
}

int bpf_probe_rare_fd(const struct bpf_probe *probe)
{
	return ring_buffer__epoll_fd(probe->rare);
}

int bpf_probe_drain(struct bpf_probe *probe, struct cgroup_totals *totals)
{
	int n;

	probe->draining = totals;
	n = ring_buffer__consume(probe->rare);
	probe->draining = NULL;
	empty_gone_slots(probe, totals);
	return n;
}

/*
 * A removed cgroup owns no slot: its own was emptied before the fold could be seen. If it does
 * own one, that is from before pids was taken away and given back on v2, or a late event claimed
 * it; left alone it would be counted again each tick after the cgroup was settled.
 */
static bool is_stale(const struct cgroup_totals *totals, uint64_t cgroup_id)
{
	const struct cgroup_total *total = cgroup_totals_find(totals, cgroup_id);

	return total && total->gone;
}

int bpf_probe_update(struct bpf_probe *probe, struct cgroup_totals *totals)
{
	bool gone;
	struct pw_counters counters;
	struct task_totals live;
	struct pw_owner owner;
	uint32_t slot;
	int n;

	cgroup_totals_begin(totals);
	/*
	 * Folds first: a slot is empty before its record can be seen, so nothing is counted
	 * twice.
	 */
	n = bpf_probe_drain(probe, totals);
	for_each_used_slot(slot, probe)
	{
		/* -ENOENT is a free slot, -EAGAIN one whose fold is in the ring by now. */
		if (bpf_probe_read_slot(probe, slot, &owner, &counters))
			continue;
		gone = owner.state == PW_SLOT_GONE || is_stale(totals, owner.cgroup_id);
		if (gone || owner.state == PW_SLOT_CONTESTED) {
			empty_slot(probe, slot, gone, totals);
			continue;
		}
		live = to_totals(&counters);
		cgroup_totals_live(totals, owner.cgroup_id, owner.parent_id, &live);
	}
	sum_stripes(probe, PW_OVERFLOW_SLOT, &counters);
	live = to_totals(&counters);
	cgroup_totals_unattributed(totals, &live);
	cgroup_totals_end(totals);
	return n < 0 ? n : 0;
}

int bpf_probe_reclaim(struct bpf_probe *probe, uint64_t cgroup_id, struct cgroup_totals *totals)
{
	uint32_t slot;

	if (bpf_probe_slot_of(probe, cgroup_id, &slot) == 0) {
		empty_slot(probe, slot, true, totals);
		return 0;
	}
	return cgroup_totals_mark_gone(totals, cgroup_id);
}

void bpf_probe_errors(const struct bpf_probe *probe, struct pw_errors *ret_errors)
{
	const struct pw_errors *errors = &probe->skel->bss->pw_errors;

	*ret_errors = (struct pw_errors){
		.overflow_events = __atomic_load_n(&errors->overflow_events, __ATOMIC_RELAXED),
		.slot_conflicts = __atomic_load_n(&errors->slot_conflicts, __ATOMIC_RELAXED),
		.lost_folds = __atomic_load_n(&errors->lost_folds, __ATOMIC_RELAXED),
		.lost_trips = __atomic_load_n(&errors->lost_trips, __ATOMIC_RELAXED),
		.failed_lookups = __atomic_load_n(&errors->failed_lookups, __ATOMIC_RELAXED),
	};
}
