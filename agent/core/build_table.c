// SPDX-License-Identifier: Apache-2.0
#include "core/build_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Builders beyond these share the last one's life cycle. */
#define BUILDERS_MAX 16

struct build {
	char uid[POD_UID_MAX];
	size_t builder;
	int64_t age_ms; /* at the last look */
	uint64_t peak;
	bool seen;
};

struct builder_state {
	char name[BUILDER_NAME_MAX];
	struct lifecycle lifecycle;
	size_t running;
};

struct build_table {
	struct build *builds; /* sorted by uid */
	size_t n, cap;
	struct builder_state builders[BUILDERS_MAX];
	size_t n_builders;
	struct lifecycle prior; /* never taught */
	struct budget_build *running;
	size_t cap_running;
	struct build_table_totals totals;
};

int build_table_new(double prior_tasks, struct build_table **ret_table)
{
	struct build_table *table = calloc(1, sizeof(*table));

	if (!table)
		return -ENOMEM;
	lifecycle_init(&table->prior, prior_tasks);
	*ret_table = table;
	return 0;
}

void build_table_free(struct build_table *table)
{
	if (!table)
		return;
	free(table->builds);
	free(table->running);
	free(table);
}

static size_t builder_index(struct build_table *table, const char *name)
{
	struct builder_state *state;
	size_t i;

	for (i = 0; i < table->n_builders; i++) {
		if (strcmp(table->builders[i].name, name) == 0)
			return i;
	}
	if (table->n_builders == BUILDERS_MAX)
		return BUILDERS_MAX - 1;
	state = &table->builders[table->n_builders++];
	/* Same bound on both sides: pod rows carry the table's own names. */
	memcpy(state->name, name, strnlen(name, sizeof(state->name) - 1));
	lifecycle_init(&state->lifecycle, table->prior.prior_tasks);
	return i;
}

/* Where @uid is, or where it belongs. */
static size_t find(const struct build_table *table, const char *uid, bool *ret_found)
{
	size_t low = 0, high = table->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(table->builds[middle].uid, uid);

		if (order == 0) {
			*ret_found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_found = false;
	return low;
}

static struct build *add(struct build_table *table, size_t at, const struct pod_row *pod)
{
	struct build *build;

	if (table->n == table->cap) {
		size_t cap = table->cap > 0 ? table->cap * 2 : 64;
		struct build *builds = reallocarray(table->builds, cap, sizeof(*builds));

		if (!builds)
			return NULL;
		table->builds = builds;
		table->cap = cap;
	}
	build = &table->builds[at];
	memmove(build + 1, build, (table->n - at) * sizeof(*build));
	table->n++;
	memset(build, 0, sizeof(*build));
	memcpy(build->uid, pod->uid, sizeof(build->uid));
	build->builder = builder_index(table, pod->builder);
	build->age_ms = -1;
	table->totals.started++;
	return build;
}

int build_table_update(struct build_table *table, const struct snapshot *snapshot)
{
	size_t kept = 0;
	int err = 0;

	for (size_t i = 0; i < table->n; i++)
		table->builds[i].seen = false;
	for (size_t i = 0; i < table->n_builders; i++)
		table->builders[i].running = 0;
	for (size_t i = 0; i < snapshot->n_pods; i++) {
		const struct pod_row *pod = &snapshot->pods[i];
		struct build *build;
		bool found;
		size_t at;

		if (!pod->is_build)
			continue;
		at = find(table, pod->uid, &found);
		build = found ? &table->builds[at] : add(table, at, pod);
		if (!build) {
			err = -ENOMEM;
			continue;
		}
		build->seen = true;
		table->builders[build->builder].running++;
		lifecycle_observe(&table->builders[build->builder].lifecycle, build->age_ms,
				  pod->age_ms, pod->tasks);
		build->age_ms = pod->age_ms;
		if (pod->tasks > build->peak)
			build->peak = pod->tasks;
	}
	for (size_t i = 0; i < table->n; i++) {
		const struct build *build = &table->builds[i];

		if (build->seen) {
			if (kept != i)
				table->builds[kept] = *build;
			kept++;
		} else {
			lifecycle_end(&table->builders[build->builder].lifecycle, build->age_ms,
				      build->peak);
			table->totals.ended++;
		}
	}
	table->n = kept;
	return err;
}

int build_table_running(struct build_table *table, const struct snapshot *snapshot,
			int64_t unknown_ms, const struct budget_build **ret_builds, size_t *ret_n)
{
	size_t n = 0;

	if (table->cap_running < snapshot->n_pods) {
		size_t cap = snapshot->n_pods * 2;
		struct budget_build *running = reallocarray(table->running, cap, sizeof(*running));

		if (!running)
			return -ENOMEM;
		table->running = running;
		table->cap_running = cap;
	}
	for (size_t i = 0; i < snapshot->n_pods; i++) {
		const struct pod_row *pod = &snapshot->pods[i];
		const struct lifecycle *lifecycle = &table->prior;
		bool found;

		if (pod->is_build) {
			size_t at = find(table, pod->uid, &found);

			if (found)
				lifecycle = &table->builders[table->builds[at].builder].lifecycle;
		} else if (pod->known || pod->age_ms >= unknown_ms) {
			continue;
		}
		table->running[n++] = (struct budget_build){
			.lifecycle = lifecycle,
			.age_ms = pod->age_ms,
			.tasks = pod->tasks,
		};
	}
	*ret_builds = table->running;
	*ret_n = n;
	return 0;
}

const struct lifecycle *build_table_typical(const struct build_table *table)
{
	const struct builder_state *typical = NULL;

	for (size_t i = 0; i < table->n_builders; i++) {
		if (!typical || table->builders[i].running > typical->running)
			typical = &table->builders[i];
	}
	return typical ? &typical->lifecycle : &table->prior;
}

uint64_t build_table_peak(const struct build_table *table, const char *uid)
{
	bool found;
	size_t at = find(table, uid, &found);

	return found ? table->builds[at].peak : 0;
}

void build_table_totals(const struct build_table *table, struct build_table_totals *ret_totals)
{
	*ret_totals = table->totals;
}
