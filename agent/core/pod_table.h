/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pods of the last good list, found by the names that cgroup directories carry. A new list is
 * built aside and takes the old one's place whole.
 * Refuses: to forget a pod that still has tasks because a list left it out. A kubelet that has just
 * started answers 200 with 0 items for up to 9 s (measured on 1.20 with 180 pods).
 */
#ifndef PIDWARDEN_CORE_POD_TABLE_H
#define PIDWARDEN_CORE_POD_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "core/pod_parse.h"

/* Of one list; as much again is kept of pods that it left out. */
#define POD_TABLE_PODS_MAX 2000
/* Over all pods: with POD_CONTAINERS_MAX for each of them a hostile list would hold 18 MB. */
#define POD_TABLE_CONTAINERS_MAX 8192

struct pod_table;

struct pod_entry {
	struct pod_identity pod;
	size_t first_container; /* of pod.n_containers, see pod_table_containers() */
	bool kept; /* not in the last list: known from an earlier one, and its cgroup has tasks */
};

/* Which pods' cgroups hold tasks, by the caller's last look at the kernel. */
struct pod_liveness {
	bool (*alive)(const char *cgroup_uid, void *data);
	void *data;
	size_t n_alive; /* pod cgroups with tasks, pods that no list has named included */
};

struct pod_table_swap {
	size_t listed; /* pods of the new list */
	size_t listed_alive; /* of them with tasks */
	size_t kept; /* pods it left out that have tasks */
};

int pod_table_new(struct pod_table **ret_table);
void pod_table_free(struct pod_table *table);

/* 0, -ENOSPC (a cap; the pod is left out) or -ENOMEM. Not after pod_table_seal(). */
int pod_table_add(struct pod_table *table, const struct pod_identity *pod,
		  const struct pod_container *containers);
/* Sorts, so that it can be looked up; pod_table_swap() does so itself. Of two pods that claim one
 * cgroup the one of that very uid stays. 0 or -ENOMEM. */
int pod_table_seal(struct pod_table *table);

size_t pod_table_count(const struct pod_table *table);
const struct pod_entry *pod_table_at(const struct pod_table *table, size_t index);
const struct pod_container *pod_table_containers(const struct pod_table *table,
						 const struct pod_entry *entry);

/* NULL when unknown. @cgroup_uid as cgroup_path_pod_uid() gives it. */
const struct pod_entry *pod_table_find(const struct pod_table *table, const char *cgroup_uid);
/* NULL when unknown; a sandbox always is. @ret_pod may be NULL. */
const struct pod_container *pod_table_find_container(const struct pod_table *table, const char *id,
						     const struct pod_entry **ret_pod);

/*
 * Puts @next (consumed in any case) in the place of *@table (may be NULL before the
 * first), with the pods it left out that have tasks taken over. @live NULL: nothing has tasks.
 *
 * 0: the list is good. -EAGAIN: it cannot be the truth, and *@table is what is known all the same:
 * the old table for a list of no pods while pod cgroups have tasks; both together for one that
 * names less than half of them and misses at least five (fewer may just have been born).
 * -ENOMEM: the old table stays.
 */
int pod_table_swap(struct pod_table **table, struct pod_table *next,
		   const struct pod_liveness *live, struct pod_table_swap *ret_swap);

#endif
