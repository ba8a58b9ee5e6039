/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Exact, never falling totals per pids cgroup out of counter slots that are read, emptied and
 * given to other cgroups; and nothing is lost when a cgroup goes: its parent inherits.
 * Refuses: reading anything, and knowing which cgroup is a pod.
 *
 * Conservation: the sum over all entries of (own + inherited), plus what was settled past the
 * root, plus the unattributed, is everything ever counted. So the total of a subtree is the sum
 * over the entries whose directories are in it, also for cgroups that came and went between two
 * ticks.
 *
 * Per tick: cgroup_totals_begin(), folds and live slots as they are found, cgroup_totals_end().
 * Folds may also come between ticks.
 */
#ifndef PIDWARDEN_CORE_CGROUP_TOTALS_H
#define PIDWARDEN_CORE_CGROUP_TOTALS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/snapshot.h"

struct cgroup_total {
	uint64_t id; /* inode number of the cgroup's directory */
	uint64_t parent_id; /* 0: not known, or the root */
	bool gone; /* the directory was removed; the entry stays until cgroup_totals_settle() */
	struct task_totals own; /* counted in this very cgroup; never falls */
	struct task_totals inherited; /* of removed and settled descendants; never falls */
};

struct cgroup_totals_stats {
	size_t entries;
	size_t gone;
	/* Live cgroups the last tick had no room for; their counts come with the fold. */
	size_t untracked;
	/* Gone entries settled for want of room, before the caller saw them. */
	uint64_t forced_settles;
};

struct cgroup_totals;

/* @max_entries bounds memory, about 170 bytes an entry; take at least the number of slots. -EINVAL
 * for 0, -ENOMEM. */
int cgroup_totals_new(size_t max_entries, struct cgroup_totals **ret_totals);
void cgroup_totals_free(struct cgroup_totals *totals);

void cgroup_totals_begin(struct cgroup_totals *totals);
/*
 * What a slot holds now. A cgroup may hold two slots for a while (v2: pids taken out of
 * subtree_control and put back): within a tick, calls for the same @id add up. A @live smaller than
 * before is a slot that is being emptied; the total stays until the fold comes.
 */
void cgroup_totals_live(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id,
			const struct task_totals *live);
/* A slot was emptied of @counts. @gone: the directory was removed as well. */
void cgroup_totals_fold(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id,
			const struct task_totals *counts, bool gone);
/* The overflow slot as it is: what cannot be told from whom. Growing; a smaller one is ignored. */
void cgroup_totals_unattributed(struct cgroup_totals *totals, const struct task_totals *counts);
void cgroup_totals_end(struct cgroup_totals *totals);

/*
 * Hands every gone entry's counts to its parent, oldest first (children before parents), and
 * forgets the entry. Call it once a tick, after the gone ones were looked at.
 */
void cgroup_totals_settle(struct cgroup_totals *totals);
/*
 * Marks @id gone though no fold said so (its directory is not there any more). It must own no
 * slot, or what that holds is counted twice: bpf_probe_reclaim() sees to it. -ENOENT.
 */
int cgroup_totals_mark_gone(struct cgroup_totals *totals, uint64_t id);

/*
 * NULL when nothing was counted in @id or inherited by it. Valid until the next call that
 * changes.
 */
const struct cgroup_total *cgroup_totals_find(const struct cgroup_totals *totals, uint64_t id);
/* Walks all entries: *@cursor starts at 0; NULL at the end. Nothing may change meanwhile. */
const struct cgroup_total *cgroup_totals_next(const struct cgroup_totals *totals, size_t *cursor);

/* Everything ever counted, whatever became of its cgroup. */
void cgroup_totals_node(const struct cgroup_totals *totals, struct task_totals *ret_node);
void cgroup_totals_get_unattributed(const struct cgroup_totals *totals,
				    struct task_totals *ret_unattributed);
void cgroup_totals_stats(const struct cgroup_totals *totals, struct cgroup_totals_stats *ret_stats);

#endif
