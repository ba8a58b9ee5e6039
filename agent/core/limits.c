// SPDX-License-Identifier: Apache-2.0
#include "core/limits.h"

#include <stdio.h>
#include <string.h>

uint64_t limit_headroom(const struct limit *limit)
{
	return limit->used < limit->max ? limit->max - limit->used : 0;
}

void limit_set_reset(struct limit_set *set)
{
	set->n = 0;
	set->dropped = 0;
	set->binding = 0;
}

struct limit *limit_set_add(struct limit_set *set, enum limit_scope scope, const char *name,
			    uint64_t used, uint64_t configured)
{
	struct limit *limit;
	uint64_t max = configured;

	if (configured == LIMIT_NONE)
		return NULL;
	if (set->n == LIMITS_MAX) {
		set->dropped++;
		return NULL;
	}
	if (scope == LIMIT_SCOPE_NODE_PIDS)
		max = configured > PID_MAX_RESERVED ? configured - PID_MAX_RESERVED : 0;
	limit = &set->limits[set->n];
	snprintf(limit->name, sizeof(limit->name), "%s", name);
	limit->scope = scope;
	limit->used = used;
	limit->max = max;
	limit->configured = configured;
	limit->cgroup_id = 0;
	if (set->n == 0 || limit_headroom(limit) < limit_headroom(&set->limits[set->binding]))
		set->binding = set->n;
	set->n++;
	return limit;
}

const struct limit *limit_set_binding(const struct limit_set *set)
{
	return set->n > 0 ? &set->limits[set->binding] : NULL;
}

const char *limit_scope_name(enum limit_scope scope)
{
	switch (scope) {
	case LIMIT_SCOPE_NODE_PIDS:
		return "node_pids";
	case LIMIT_SCOPE_NODE_THREADS:
		return "node_threads";
	case LIMIT_SCOPE_CGROUP:
		return "cgroup";
	}
	return "unknown";
}
