// SPDX-License-Identifier: Apache-2.0
#include "core/cgroup_totals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX
#define ENTRIES_FIRST 64

struct entry {
	struct cgroup_total total; /* first: the public face of the entry */
	struct task_totals folded; /* sum of emptied slots */
	struct task_totals live; /* sum of the slots it holds, at the last tick */
	struct task_totals live_next; /* the same for the tick under way */
	uint32_t next; /* in the bucket, or in the list of free entries */
	uint32_t next_gone; /* in the order of removal */
	bool used;
};

struct cgroup_totals {
	struct entry *entries;
	uint32_t *buckets; /* as many as entries, a power of two */
	uint32_t size; /* entries allocated */
	uint32_t max;
	uint32_t first_free;
	uint32_t first_gone, last_gone;
	size_t n_entries, n_gone;
	size_t untracked, untracked_next;
	uint64_t forced_settles;
	struct task_totals settled; /* inherited by nobody: the root's, or a parent unknown */
	struct task_totals unattributed;
};

static void add_totals(struct task_totals *sum, const struct task_totals *add)
{
	sum->processes_created += add->processes_created;
	sum->threads_created += add->threads_created;
	sum->execs += add->execs;
	sum->exits += add->exits;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void raise_totals(struct task_totals *at_least, const struct task_totals *to)
{
	at_least->processes_created = larger(at_least->processes_created, to->processes_created);
	at_least->threads_created = larger(at_least->threads_created, to->threads_created);
	at_least->execs = larger(at_least->execs, to->execs);
	at_least->exits = larger(at_least->exits, to->exits);
}

static bool is_zero(const struct task_totals *t)
{
	return t->processes_created == 0 && t->threads_created == 0 && t->execs == 0 &&
	       t->exits == 0;
}

static uint32_t bucket_of(const struct cgroup_totals *totals, uint64_t id)
{
	/*
	 * Directory ids are small and dense; Fibonacci hashing spreads them. The kernel chooses
	 * them, so nobody can aim at a bucket.
	 */
	return (uint32_t)((id * 0x9E3779B97F4A7C15ULL) >> 32) & (totals->size - 1);
}

static uint32_t power_of_two(size_t n)
{
	uint32_t size = ENTRIES_FIRST;

	while (size < n && size < (UINT32_C(1) << 30))
		size *= 2;
	return size;
}

/* Makes @size entries out of totals->size; both powers of two (or 0 before the first). */
static int resize(struct cgroup_totals *totals, uint32_t size)
{
	struct entry *entries;
	uint32_t *buckets;
	uint32_t i;

	buckets = malloc(size * sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	entries = realloc(totals->entries, size * sizeof(*entries));
	if (!entries) {
		free(buckets);
		return -ENOMEM;
	}
	for (i = totals->size; i < size; i++) {
		entries[i] = (struct entry){ .next = totals->first_free, .next_gone = NONE };
		totals->first_free = i;
	}
	free(totals->buckets);
	totals->buckets = buckets;
	totals->entries = entries;
	totals->size = size;
	memset(buckets, 0xff, size * sizeof(*buckets));
	for (i = 0; i < size; i++) {
		if (entries[i].used) {
			uint32_t bucket = bucket_of(totals, entries[i].total.id);

			entries[i].next = buckets[bucket];
			buckets[bucket] = i;
		}
	}
	return 0;
}

int cgroup_totals_new(size_t max_entries, struct cgroup_totals **ret_totals)
{
	struct cgroup_totals *totals;

	if (max_entries == 0 || max_entries > UINT32_MAX / 4)
		return -EINVAL;
	totals = calloc(1, sizeof(*totals));
	if (!totals)
		return -ENOMEM;
	totals->first_free = NONE;
	totals->first_gone = NONE;
	totals->last_gone = NONE;
	totals->max = (uint32_t)max_entries;
	if (resize(totals, ENTRIES_FIRST)) {
		free(totals);
		return -ENOMEM;
	}
	*ret_totals = totals;
	return 0;
}

void cgroup_totals_free(struct cgroup_totals *totals)
{
	if (!totals)
		return;
	free(totals->entries);
	free(totals->buckets);
	free(totals);
}

static uint32_t find(const struct cgroup_totals *totals, uint64_t id)
{
	uint32_t i;

	for (i = totals->buckets[bucket_of(totals, id)]; i != NONE; i = totals->entries[i].next) {
		if (totals->entries[i].total.id == id)
			return i;
	}
	return NONE;
}

/* NONE when there is no room (or no memory, which is the same to the caller). */
static uint32_t insert(struct cgroup_totals *totals, uint64_t id)
{
	uint32_t i, bucket;

	if (totals->n_entries >= totals->max)
		return NONE;
	if (totals->first_free == NONE && resize(totals, power_of_two(totals->size * (size_t)2)))
		return NONE;
	i = totals->first_free;
	totals->first_free = totals->entries[i].next;
	bucket = bucket_of(totals, id);
	totals->entries[i] = (struct entry){
		.total.id = id,
		.next = totals->buckets[bucket],
		.next_gone = NONE,
		.used = true,
	};
	totals->buckets[bucket] = i;
	totals->n_entries++;
	return i;
}

static void forget(struct cgroup_totals *totals, uint32_t i)
{
	struct entry *entry = &totals->entries[i];
	uint32_t *link = &totals->buckets[bucket_of(totals, entry->total.id)];

	while (*link != i)
		link = &totals->entries[*link].next;
	*link = entry->next;
	*entry = (struct entry){ .next = totals->first_free, .next_gone = NONE };
	totals->first_free = i;
	totals->n_entries--;
}

static void mark_gone(struct cgroup_totals *totals, uint32_t i)
{
	if (totals->entries[i].total.gone)
		return;
	totals->entries[i].total.gone = true;
	if (totals->last_gone == NONE)
		totals->first_gone = i;
	else
		totals->entries[totals->last_gone].next_gone = i;
	totals->last_gone = i;
	totals->n_gone++;
}

/* Hands @counts to the entry @id if that is possible without more room, else to nobody. */
static void inherit(struct cgroup_totals *totals, uint64_t id, const struct task_totals *counts)
{
	uint32_t i;

	if (is_zero(counts))
		return;
	i = id ? find(totals, id) : NONE;
	if (i == NONE && id)
		i = insert(totals, id);
	if (i == NONE)
		add_totals(&totals->settled, counts);
	else
		add_totals(&totals->entries[i].total.inherited, counts);
}

void cgroup_totals_settle(struct cgroup_totals *totals)
{
	while (totals->first_gone != NONE) {
		uint32_t i = totals->first_gone;
		struct task_totals counts = totals->entries[i].total.own;
		uint64_t parent_id = totals->entries[i].total.parent_id;

		add_totals(&counts, &totals->entries[i].total.inherited);
		totals->first_gone = totals->entries[i].next_gone;
		if (totals->first_gone == NONE)
			totals->last_gone = NONE;
		totals->n_gone--;
		/*
		 * Deleted first, so that there is room for a parent that never had an event
		 * itself.
		 */
		forget(totals, i);
		inherit(totals, parent_id, &counts);
	}
}

static uint32_t find_or_insert(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id)
{
	uint32_t i = find(totals, id);

	if (i == NONE) {
		i = insert(totals, id);
		if (i == NONE && totals->n_gone > 0) {
			totals->forced_settles += totals->n_gone;
			cgroup_totals_settle(totals);
			/* Settling may have made @id's own entry, as a parent. */
			i = find(totals, id);
			if (i == NONE)
				i = insert(totals, id);
		}
	}
	if (i != NONE && parent_id)
		totals->entries[i].total.parent_id = parent_id;
	return i;
}

void cgroup_totals_begin(struct cgroup_totals *totals)
{
	uint32_t i;

	for (i = 0; i < totals->size; i++)
		totals->entries[i].live_next = (struct task_totals){ 0 };
	totals->untracked_next = 0;
}

void cgroup_totals_live(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id,
			const struct task_totals *live)
{
	uint32_t i = find_or_insert(totals, id, parent_id);

	if (i == NONE) {
		totals->untracked_next++;
		return;
	}
	add_totals(&totals->entries[i].live_next, live);
}

static void update_own(struct entry *entry)
{
	struct task_totals now = entry->folded;

	add_totals(&now, &entry->live);
	raise_totals(&entry->total.own, &now);
}

void cgroup_totals_fold(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id,
			const struct task_totals *counts, bool gone)
{
	uint32_t i = find(totals, id);

	/* Most cgroups of a tree never ran a task of their own. */
	if (i == NONE && is_zero(counts))
		return;
	i = find_or_insert(totals, id, parent_id);
	if (i == NONE) {
		inherit(totals, parent_id, counts);
		return;
	}
	add_totals(&totals->entries[i].folded, counts);
	/*
	 * The slot that was live at the last look is this one; a second one is seen again at the
	 * next.
	 */
	totals->entries[i].live = (struct task_totals){ 0 };
	totals->entries[i].live_next = (struct task_totals){ 0 };
	update_own(&totals->entries[i]);
	if (!gone)
		return;
	mark_gone(totals, i);
	/* The heir is there before its own fold may come, which says whose heir it is in turn: a whole
	 * pod that goes between two ticks, and ran no task outside its containers. */
	if (parent_id && find(totals, parent_id) == NONE)
		insert(totals, parent_id);
}

void cgroup_totals_unattributed(struct cgroup_totals *totals, const struct task_totals *counts)
{
	raise_totals(&totals->unattributed, counts);
}

void cgroup_totals_end(struct cgroup_totals *totals)
{
	uint32_t i;

	for (i = 0; i < totals->size; i++) {
		struct entry *entry = &totals->entries[i];

		if (!entry->used)
			continue;
		entry->live = entry->live_next;
		update_own(entry);
	}
	totals->untracked = totals->untracked_next;
}

int cgroup_totals_mark_gone(struct cgroup_totals *totals, uint64_t id)
{
	uint32_t i = find(totals, id);

	if (i == NONE)
		return -ENOENT;
	mark_gone(totals, i);
	return 0;
}

const struct cgroup_total *cgroup_totals_find(const struct cgroup_totals *totals, uint64_t id)
{
	uint32_t i = find(totals, id);

	return i == NONE ? NULL : &totals->entries[i].total;
}

const struct cgroup_total *cgroup_totals_next(const struct cgroup_totals *totals, size_t *cursor)
{
	while (*cursor < totals->size) {
		const struct entry *entry = &totals->entries[(*cursor)++];

		if (entry->used)
			return &entry->total;
	}
	return NULL;
}

void cgroup_totals_node(const struct cgroup_totals *totals, struct task_totals *ret_node)
{
	struct task_totals node = totals->settled;
	uint32_t i;

	add_totals(&node, &totals->unattributed);
	for (i = 0; i < totals->size; i++) {
		if (totals->entries[i].used) {
			add_totals(&node, &totals->entries[i].total.own);
			add_totals(&node, &totals->entries[i].total.inherited);
		}
	}
	*ret_node = node;
}

void cgroup_totals_get_unattributed(const struct cgroup_totals *totals,
				    struct task_totals *ret_unattributed)
{
	*ret_unattributed = totals->unattributed;
}

void cgroup_totals_stats(const struct cgroup_totals *totals, struct cgroup_totals_stats *ret_stats)
{
	*ret_stats = (struct cgroup_totals_stats){
		.entries = totals->n_entries,
		.gone = totals->n_gone,
		.untracked = totals->untracked,
		.forced_settles = totals->forced_settles,
	};
}
