// SPDX-License-Identifier: Apache-2.0
#include "join.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cgroup_path.h"

#define SHORT_ID 12 /* hex digits, as docker and crictl print an id */

struct pod_place {
	uint32_t entry;
	uint64_t tasks;
};

/* A pod of the last join, for the next one and for join_pod_alive(). */
struct pod_memory {
	char uid[POD_UID_MAX];
	uint64_t cgroup_id;
	uint64_t tasks;
	struct task_totals totals;
};

struct join {
	/* Workspace, kept from tick to tick. Indexed as the tree's entries. */
	struct task_totals *subtree; /* totals of the entry and all below it */
	uint64_t *children; /* sum of the direct children's current */
	size_t cap;
	uint32_t *order; /* entries, parents before their children */
	struct pod_place *pods;
	size_t cap_pods;
	/* Sorted by uid. */
	struct pod_memory *memory, *last_memory;
	size_t n_memory, n_last_memory;
	size_t n_alive, n_unknown;
};

int join_new(struct join **ret_join)
{
	*ret_join = calloc(1, sizeof(**ret_join));
	return *ret_join ? 0 : -ENOMEM;
}

void join_free(struct join *join)
{
	if (!join)
		return;
	free(join->subtree);
	free(join->children);
	free(join->order);
	free(join->pods);
	free(join->memory);
	free(join->last_memory);
	free(join);
}

static int grow(void **array, size_t n, size_t size)
{
	void *grown = reallocarray(*array, n, size);

	if (!grown)
		return -ENOMEM;
	*array = grown;
	return 0;
}

static int workspace_fit(struct join *join, size_t n)
{
	size_t cap = n + n / 2 + 64;

	if (n <= join->cap)
		return 0;
	if (grow((void **)&join->subtree, cap, sizeof(*join->subtree)) < 0 ||
	    grow((void **)&join->children, cap, sizeof(*join->children)) < 0 ||
	    grow((void **)&join->order, cap, sizeof(*join->order)) < 0)
		return -ENOMEM;
	join->cap = cap;
	return 0;
}

/* Entries with parents before children: the array itself is a queue. Returns their number. */
static size_t order_entries(struct join *join, const struct cgroup_entry *entries)
{
	size_t n = 0;

	join->order[n++] = 0;
	for (size_t i = 0; i < n; i++) {
		for (uint32_t child = entries[join->order[i]].first_child;
		     child != CGROUP_INDEX_NONE; child = entries[child].next_sibling)
			join->order[n++] = child;
	}
	return n;
}

static void sum_subtrees(struct join *join, const struct join_input *input,
			 const struct cgroup_entry *entries, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t index = join->order[i];
		const struct cgroup_total *total =
			input->totals ? cgroup_totals_find(input->totals, entries[index].id) : NULL;

		join->children[index] = 0;
		memset(&join->subtree[index], 0, sizeof(join->subtree[index]));
		if (total) {
			task_totals_add(&join->subtree[index], &total->own);
			task_totals_add(&join->subtree[index], &total->inherited);
		}
	}
	for (size_t i = n; i-- > 1;) {
		uint32_t index = join->order[i], parent = entries[index].parent;

		task_totals_add(&join->subtree[parent], &join->subtree[index]);
		if (entries[index].has_pids)
			join->children[parent] += entries[index].current;
	}
}

static int64_t pod_age(const struct join_input *input, const struct cgroup_entry *entry,
		       const struct pod_entry *pod)
{
	int64_t age_ms = input->now_ms - entry->first_seen_ms;

	/* The start time's resolution is a second, so it only serves where it says much more: for
	 * pods that were there before the agent. A clock that was set must not make builds old. */
	if (pod && pod->pod.start_wall_ms > 0) {
		int64_t by_clock = input->wall_ms - pod->pod.start_wall_ms;

		if (by_clock > age_ms + 2000 && by_clock < 30LL * 24 * 3600 * 1000)
			age_ms = by_clock;
	}
	return age_ms > 0 ? age_ms : 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
	size_t len = strnlen(from, size - 1);

	memcpy(to, from, len);
	to[len] = '\0';
}

static void fill_container(const struct join_input *input, const struct cgroup_entry *entry,
			   const struct pod_entry *pod, bool oldest, struct container_row *row)
{
	const struct pod_container *container = NULL;
	const struct pod_entry *owner = NULL;
	bool all_named = pod != NULL;

	if (cgroup_path_container_id(entry->name, row->id, sizeof(row->id)) < 0) {
		/* conmon's scope and whatever else a runtime puts beside the containers */
		copy_text(row->name, sizeof(row->name), entry->name);
		return;
	}
	if (input->pods)
		container = pod_table_find_container(input->pods, row->id, &owner);
	if (container && owner == pod) {
		row->known = true;
		copy_text(row->name, sizeof(row->name), container->name);
		return;
	}
	if (pod) {
		const struct pod_container *list = pod_table_containers(input->pods, pod);

		for (size_t i = 0; i < pod->pod.n_containers; i++)
			all_named = all_named && list[i].id[0] != '\0';
	}
	/* The kubelet does not name the sandbox. It is made before the containers; and when all of
	 * them have names, what is left over is the sandbox. */
	if (pod && (oldest || all_named)) {
		row->sandbox = true;
		copy_text(row->name, sizeof(row->name), "POD");
		return;
	}
	snprintf(row->name, sizeof(row->name), "%.*s", SHORT_ID, row->id);
}

static int add_containers(struct join *join, const struct join_input *input,
			  const struct cgroup_entry *entries, uint32_t index, size_t pod_index,
			  const struct pod_entry *pod, struct snapshot *snapshot)
{
	uint64_t oldest = UINT64_MAX;
	uint32_t child;

	/* Cgroup ids grow: the smallest is the first that was made. */
	for (child = entries[index].first_child; child != CGROUP_INDEX_NONE;
	     child = entries[child].next_sibling) {
		if (entries[child].id < oldest)
			oldest = entries[child].id;
	}
	snapshot->pods[pod_index].first_container = snapshot->n_containers;
	for (child = entries[index].first_child; child != CGROUP_INDEX_NONE;
	     child = entries[child].next_sibling) {
		struct container_row *row = snapshot_add_container(snapshot);

		if (!row)
			return -ENOMEM;
		row->pod = pod_index;
		row->tasks = entries[child].current;
		row->limit = entries[child].max;
		row->totals = join->subtree[child];
		fill_container(input, &entries[child], pod, entries[child].id == oldest, row);
		snapshot->pods[pod_index].n_containers++;
	}
	return 0;
}

static int by_uid(const void *a, const void *b)
{
	const struct pod_memory *x = a, *y = b;

	return strcmp(x->uid, y->uid);
}

static const struct pod_memory *recall(const struct pod_memory *memory, size_t n, const char *uid)
{
	struct pod_memory key;

	if (n == 0)
		return NULL;
	copy_text(key.uid, sizeof(key.uid), uid);
	return bsearch(&key, memory, n, sizeof(*memory), by_uid);
}

/*
 * Tree and counters are read one after the other. A container removed in between has left the one and
 * not yet handed its counts on in the other, so for one tick its pod would seem to have done less.
 */
static void remember(struct join *join, uint64_t cgroup_id, struct pod_row *row)
{
	const struct pod_memory *last = recall(join->last_memory, join->n_last_memory, row->uid);
	struct pod_memory *memory = &join->memory[join->n_memory++];

	if (last && last->cgroup_id == cgroup_id)
		task_totals_keep(&row->totals, &last->totals);
	memcpy(memory->uid, row->uid, sizeof(memory->uid));
	memory->cgroup_id = cgroup_id;
	memory->tasks = row->tasks;
	memory->totals = row->totals;
	if (row->tasks > 0) {
		join->n_alive++;
		join->n_unknown += !row->known;
	}
}

static int add_pod(struct join *join, const struct join_input *input,
		   const struct cgroup_entry *entries, uint32_t index, struct snapshot *snapshot)
{
	const struct cgroup_entry *entry = &entries[index];
	const struct pod_entry *pod = NULL;
	struct pod_row *row = snapshot_add_pod(snapshot);

	if (!row)
		return -ENOMEM;
	cgroup_path_pod_uid(entry->name, row->uid, sizeof(row->uid));
	if (input->pods)
		pod = pod_table_find(input->pods, row->uid);
	row->tasks = entry->current;
	row->limit = entry->max;
	row->age_ms = pod_age(input, entry, pod);
	row->totals = join->subtree[index];
	if (pod) {
		row->known = true;
		copy_text(row->namespace, sizeof(row->namespace), pod->pod.namespace);
		copy_text(row->name, sizeof(row->name), pod->pod.name);
		copy_text(row->builder, sizeof(row->builder), pod->pod.builder);
		copy_text(row->workload, sizeof(row->workload), pod->pod.owner_name);
		copy_text(row->phase, sizeof(row->phase), pod->pod.phase);
		row->is_build = pod->pod.builder[0] != '\0';
	} else {
		copy_text(row->name, sizeof(row->name), entry->name);
	}
	snapshot->node.pod_tasks += row->tasks;
	if (row->is_build) {
		snapshot->node.build_tasks += row->tasks;
		snapshot->node.n_builds++;
	}
	remember(join, entry->id, row);
	return add_containers(join, input, entries, index, snapshot->n_pods - 1, pod, snapshot);
}

static int by_tasks(const void *a, const void *b)
{
	const struct pod_place *x = a, *y = b;

	if (x->tasks != y->tasks)
		return x->tasks < y->tasks ? 1 : -1;
	return (x->entry > y->entry) - (x->entry < y->entry);
}

static void swap_memory(struct join *join)
{
	struct pod_memory *memory = join->last_memory;

	join->last_memory = join->memory;
	join->n_last_memory = join->n_memory;
	join->memory = memory;
	join->n_memory = 0;
	join->n_alive = 0;
	join->n_unknown = 0;
}

/* The pods, most tasks first, each with its containers. */
static int add_pods(struct join *join, const struct join_input *input,
		    const struct cgroup_entry *entries, size_t n, struct snapshot *snapshot)
{
	size_t n_pods = 0;
	int err;

	for (size_t i = 0; i < n; i++) {
		uint32_t index = join->order[i];

		if (entries[index].kind != CGROUP_POD)
			continue;
		if (n_pods == join->cap_pods) {
			size_t cap = join->cap_pods > 0 ? join->cap_pods * 2 : 64;

			if (grow((void **)&join->pods, cap, sizeof(*join->pods)) < 0 ||
			    grow((void **)&join->memory, cap, sizeof(*join->memory)) < 0 ||
			    grow((void **)&join->last_memory, cap, sizeof(*join->memory)) < 0)
				return -ENOMEM;
			join->cap_pods = cap;
		}
		join->pods[n_pods++] = (struct pod_place){
			.entry = index,
			.tasks = entries[index].current,
		};
	}
	if (n_pods > 1)
		qsort(join->pods, n_pods, sizeof(*join->pods), by_tasks);
	swap_memory(join);
	for (size_t i = 0; i < n_pods; i++) {
		err = add_pod(join, input, entries, join->pods[i].entry, snapshot);
		if (err < 0)
			return err;
	}
	if (join->n_memory > 1)
		qsort(join->memory, join->n_memory, sizeof(*join->memory), by_uid);
	return 0;
}

static int cgroup_by_tasks(const void *a, const void *b)
{
	const struct cgroup_row *x = a, *y = b;

	if (x->tasks != y->tasks)
		return x->tasks < y->tasks ? 1 : -1;
	return strcmp(x->path, y->path);
}

/* Cgroups outside pods: each with the tasks that are in itself and in none of its children. */
static int add_cgroups(struct join *join, const struct join_input *input,
		       const struct cgroup_entry *entries, size_t n, struct snapshot *snapshot)
{
	for (size_t i = 0; i < n; i++) {
		uint32_t index = join->order[i];
		const struct cgroup_entry *entry = &entries[index];
		uint64_t current = entry->current, below = join->children[index];
		const struct cgroup_total *total;
		struct cgroup_row *row;

		if (entry->kind == CGROUP_POD || entry->kind == CGROUP_CONTAINER ||
		    entry->kind == CGROUP_NESTED)
			continue;
		if (!entry->has_pids)
			current = index == 0 ? input->node_tasks : 0;
		/* A lone container's own nested cgroups are not counted apart. The two counts were
		 * read at different moments: the difference may come out below zero. */
		current = current > below ? current - below : 0;
		total = input->totals ? cgroup_totals_find(input->totals, entry->id) : NULL;
		if (current == 0 && entry->first_child != CGROUP_INDEX_NONE)
			continue;
		row = snapshot_add_cgroup(snapshot);
		if (!row)
			return -ENOMEM;
		cgroup_tree_path(input->tree, index, row->path, sizeof(row->path));
		row->tasks = current;
		row->limit = entry->max;
		if (entry->kind == CGROUP_LONE_CONTAINER)
			row->totals = join->subtree[index];
		else if (total)
			row->totals = total->own;
	}
	if (snapshot->n_cgroups > 1)
		qsort(snapshot->cgroups, snapshot->n_cgroups, sizeof(*snapshot->cgroups),
		      cgroup_by_tasks);
	while (snapshot->n_cgroups > JOIN_CGROUP_ROWS) {
		snapshot->cgroups_folded++;
		snapshot->cgroups_folded_tasks += snapshot->cgroups[--snapshot->n_cgroups].tasks;
	}
	return 0;
}

int join_rows(struct join *join, const struct join_input *input, struct snapshot *snapshot)
{
	const struct cgroup_entry *entries;
	size_t n;
	int err;

	entries = cgroup_tree_entries(input->tree, &n);
	err = workspace_fit(join, n);
	if (err < 0)
		return err;
	n = order_entries(join, entries);
	sum_subtrees(join, input, entries, n);
	snapshot->node.tasks = entries[0].has_pids ? entries[0].current : input->node_tasks;
	err = add_pods(join, input, entries, n, snapshot);
	if (err == 0)
		err = add_cgroups(join, input, entries, n, snapshot);
	return err;
}

bool join_pod_alive(const char *cgroup_uid, void *data)
{
	const struct join *join = data;
	const struct pod_memory *memory = recall(join->memory, join->n_memory, cgroup_uid);

	return memory && memory->tasks > 0;
}

size_t join_pods_alive(const struct join *join)
{
	return join->n_alive;
}

size_t join_pods_unknown(const struct join *join)
{
	return join->n_unknown;
}
