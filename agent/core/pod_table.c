// SPDX-License-Identifier: Apache-2.0
#include "core/pod_table.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"

/* A list that misses fewer pods than this may simply be a moment older than the cgroups. */
#define MISSING_MIN 5

struct container_ref {
	uint32_t container;
	uint32_t entry;
};

struct pod_table {
	struct pod_entry *entries;
	size_t n_entries, cap_entries;
	struct pod_container *containers;
	size_t n_containers, cap_containers;
	uint32_t *by_uid; /* entries by cgroup_uid */
	size_t n_by_uid;
	struct container_ref *by_id;
	size_t n_by_id;
};

int pod_table_new(struct pod_table **ret_table)
{
	struct pod_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	*ret_table = table;
	return 0;
}

void pod_table_free(struct pod_table *table)
{
	if (!table)
		return;
	free(table->entries);
	free(table->containers);
	free(table->by_uid);
	free(table->by_id);
	free(table);
}

/* Room for @extra more elements of @size bytes. */
static int make_room(void **rows, size_t n, size_t extra, size_t *cap, size_t size)
{
	size_t cap_new = *cap > 0 ? *cap : 32;
	void *grown;

	if (n + extra <= *cap)
		return 0;
	while (cap_new < n + extra)
		cap_new *= 2;
	grown = reallocarray(*rows, cap_new, size);
	if (!grown)
		return -ENOMEM;
	*rows = grown;
	*cap = cap_new;
	return 0;
}

/* @share: how many times the caps. */
static int add(struct pod_table *table, const struct pod_identity *pod,
	       const struct pod_container *containers, size_t share)
{
	size_t n = pod->n_containers;
	int err;

	if (n > POD_CONTAINERS_MAX)
		return -EINVAL;
	if (table->n_entries >= POD_TABLE_PODS_MAX * share ||
	    table->n_containers + n > POD_TABLE_CONTAINERS_MAX * share)
		return -ENOSPC;
	err = make_room((void **)&table->entries, table->n_entries, 1, &table->cap_entries,
			sizeof(*table->entries));
	if (err == 0)
		err = make_room((void **)&table->containers, table->n_containers, n,
				&table->cap_containers, sizeof(*table->containers));
	if (err < 0)
		return err;
	table->entries[table->n_entries++] = (struct pod_entry){
		.pod = *pod,
		.first_container = table->n_containers,
	};
	if (n > 0)
		memcpy(table->containers + table->n_containers, containers,
		       n * sizeof(*containers));
	table->n_containers += n;
	return 0;
}

int pod_table_add(struct pod_table *table, const struct pod_identity *pod,
		  const struct pod_container *containers)
{
	return add(table, pod, containers, 1);
}

static int compare_entries(const void *a, const void *b, void *data)
{
	const struct pod_table *table = data;
	uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
	const struct pod_identity *l = &table->entries[left].pod, *r = &table->entries[right].pod;
	int order = strcmp(l->cgroup_uid, r->cgroup_uid);
	bool l_own, r_own;

	if (order != 0)
		return order;
	l_own = strcmp(l->uid, l->cgroup_uid) == 0;
	r_own = strcmp(r->uid, r->cgroup_uid) == 0;
	if (l_own != r_own)
		return l_own ? -1 : 1;
	return left < right ? -1 : 1;
}

static int compare_containers(const void *a, const void *b, void *data)
{
	const struct pod_table *table = data;
	const struct container_ref *left = a, *right = b;
	int order = strcmp(table->containers[left->container].id,
			   table->containers[right->container].id);

	if (order != 0)
		return order;
	return left->container < right->container ? -1 : 1;
}

int pod_table_seal(struct pod_table *table)
{
	uint32_t *by_uid = reallocarray(table->by_uid, table->n_entries + 1, sizeof(*by_uid));
	struct container_ref *by_id;
	size_t n = 0;

	if (!by_uid)
		return -ENOMEM;
	table->by_uid = by_uid;
	by_id = reallocarray(table->by_id, table->n_containers + 1, sizeof(*by_id));
	if (!by_id)
		return -ENOMEM;
	table->by_id = by_id;

	for (size_t i = 0; i < table->n_entries; i++)
		by_uid[i] = (uint32_t)i;
	qsort_r(by_uid, table->n_entries, sizeof(*by_uid), compare_entries, table);
	for (size_t i = 0; i < table->n_entries; i++) {
		if (n == 0 || strcmp(table->entries[by_uid[n - 1]].pod.cgroup_uid,
				     table->entries[by_uid[i]].pod.cgroup_uid) != 0)
			by_uid[n++] = by_uid[i];
	}
	table->n_by_uid = n;

	n = 0;
	for (size_t i = 0; i < table->n_by_uid; i++) {
		const struct pod_entry *entry = &table->entries[by_uid[i]];

		for (size_t j = 0; j < entry->pod.n_containers; j++) {
			size_t container = entry->first_container + j;

			if (*table->containers[container].id != '\0')
				by_id[n++] =
					(struct container_ref){ (uint32_t)container, by_uid[i] };
		}
	}
	table->n_by_id = n;
	qsort_r(by_id, n, sizeof(*by_id), compare_containers, table);
	return 0;
}

size_t pod_table_count(const struct pod_table *table)
{
	return table ? table->n_by_uid : 0;
}

const struct pod_entry *pod_table_at(const struct pod_table *table, size_t index)
{
	return &table->entries[table->by_uid[index]];
}

const struct pod_container *pod_table_containers(const struct pod_table *table,
						 const struct pod_entry *entry)
{
	return table->containers + entry->first_container;
}

const struct pod_entry *pod_table_find(const struct pod_table *table, const char *cgroup_uid)
{
	size_t low = 0, high = pod_table_count(table);

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct pod_entry *entry = pod_table_at(table, middle);
		int order = strcmp(cgroup_uid, entry->pod.cgroup_uid);

		if (order == 0)
			return entry;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct pod_container *pod_table_find_container(const struct pod_table *table, const char *id,
						     const struct pod_entry **ret_pod)
{
	size_t low = 0, high = table ? table->n_by_id : 0;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct container_ref *ref = &table->by_id[middle];
		const struct pod_container *container = &table->containers[ref->container];
		int order = strcmp(id, container->id);

		if (order == 0) {
			if (ret_pod)
				*ret_pod = &table->entries[ref->entry];
			return container;
		}
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

static bool is_alive(const struct pod_liveness *live, const char *cgroup_uid)
{
	return live && live->alive && live->alive(cgroup_uid, live->data);
}

/* Adds to the sealed @next what @old alone knows and the kernel still has. */
static int take_over(struct pod_table *next, const struct pod_table *old,
		     const struct pod_liveness *live, size_t *ret_kept)
{
	size_t kept = 0;

	for (size_t i = 0; i < pod_table_count(old); i++) {
		const struct pod_entry *entry = pod_table_at(old, i);
		int err;

		if (pod_table_find(next, entry->pod.cgroup_uid) ||
		    !is_alive(live, entry->pod.cgroup_uid))
			continue;
		/* Room of their own: a list that fills the table must not push them out. */
		err = add(next, &entry->pod, pod_table_containers(old, entry), 2);
		if (err == -ENOSPC)
			break;
		if (err < 0)
			return err;
		next->entries[next->n_entries - 1].kept = true;
		kept++;
	}
	*ret_kept = kept;
	return kept > 0 ? pod_table_seal(next) : 0;
}

static void table_free(struct pod_table **table)
{
	pod_table_free(*table);
}

int pod_table_swap(struct pod_table **table, struct pod_table *next,
		   const struct pod_liveness *live, struct pod_table_swap *ret_swap)
{
	clean(table_free) struct pod_table *unused = next;
	struct pod_table_swap swap = { 0 };
	size_t n_alive = live ? live->n_alive : 0;
	bool doubtful;
	int err;

	err = pod_table_seal(next);
	if (err < 0)
		return err;
	swap.listed = pod_table_count(next);
	for (size_t i = 0; i < swap.listed; i++)
		swap.listed_alive += is_alive(live, pod_table_at(next, i)->pod.cgroup_uid);
	if (swap.listed == 0 && n_alive > 0) {
		swap.kept = pod_table_count(*table);
		*ret_swap = swap;
		return -EAGAIN;
	}
	err = take_over(next, *table, live, &swap.kept);
	if (err < 0)
		return err;
	doubtful = swap.listed_alive * 2 < n_alive && n_alive - swap.listed_alive >= MISSING_MIN;
	unused = *table;
	*table = next;
	*ret_swap = swap;
	return doubtful ? -EAGAIN : 0;
}
