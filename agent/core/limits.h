/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limits that a new task on this node must pass, their use, and which of them binds.
 * Refuses: to read anything; the readers fill in use and maximum.
 */
#ifndef PIDWARDEN_CORE_LIMITS_H
#define PIDWARDEN_CORE_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LIMIT_NONE UINT64_MAX /* "max" in a pids.max file */
#define LIMIT_NAME_MAX 192
#define LIMITS_MAX 32

/*
 * The kernel hands out 300..pid_max-1 once the numbers have wrapped (RESERVED_PIDS in
 * kernel/pid.c: alloc_pid() passes idr_alloc_cyclic() a minimum of 300 when the cursor has
 * passed it), so a small matter on large nodes is a large one on small nodes.
 */
#define PID_MAX_RESERVED 300

enum limit_scope {
	LIMIT_SCOPE_NODE_PIDS, /* kernel.pid_max of the root PID namespace, in PIDs allocated */
	LIMIT_SCOPE_NODE_THREADS, /* kernel.threads-max, in tasks */
	LIMIT_SCOPE_CGROUP, /* pids.max of a cgroup above the pods, in tasks */
};

struct limit {
	/* "pid_max", "threads_max", "node" (the --node-cgroup), or the cgroup's path relative to
	 * the node's root: "/kubepods", "/kubepods/burstable". */
	char name[LIMIT_NAME_MAX];
	enum limit_scope scope;
	uint64_t used;
	uint64_t max; /* usable maximum: for pid_max already less PID_MAX_RESERVED */
	uint64_t configured; /* as the kernel's file says; LIMIT_NONE: no limit */
	uint64_t cgroup_id; /* of the cgroup that has it, 0 for the node-wide ones */
};

struct limit_set {
	struct limit limits[LIMITS_MAX];
	size_t n;
	size_t dropped; /* limits that did not fit: more than LIMITS_MAX levels of cgroups */
	size_t binding; /* index of the binding limit; n when there is none */
};

/* Free PIDs below @limit; 0 when use is past it. */
uint64_t limit_headroom(const struct limit *limit);
void limit_set_reset(struct limit_set *set);
/* Adds a limit and keeps set->binding right (ties: the one added first). @configured is what the
 * kernel's file says: for pid_max the 300 are taken off here. The new one, or NULL: LIMIT_NONE is not
 * added, nor what has no room. */
struct limit *limit_set_add(struct limit_set *set, enum limit_scope scope, const char *name,
			    uint64_t used, uint64_t configured);
/* The binding limit, NULL when no limit is known. */
const struct limit *limit_set_binding(const struct limit_set *set);
const char *limit_scope_name(enum limit_scope scope);

#endif
