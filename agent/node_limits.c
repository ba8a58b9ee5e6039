// SPDX-License-Identifier: Apache-2.0
#include "node_limits.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

/* -EINVAL and the like only where a file is not a pids file. */
static int read_counter(const char *dir, const char *file, uint64_t *ret_value)
{
	char path[PATH_MAX + 32], text[32];
	int n;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	n = read_small_file(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return n;
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "max") == 0) {
		*ret_value = LIMIT_NONE;
		return 0;
	}
	return parse_u64(text, ret_value);
}

/* Cgroups between the mount and a --node-cgroup bind as well (a kind node sits in a container). */
static void add_ancestors(const struct node_limits_input *input, struct limit_set *limits)
{
	size_t mount_len = strlen(input->mount);
	char path[PATH_MAX];

	if (strncmp(input->node_cgroup, input->mount, mount_len) != 0 ||
	    snprintf(path, sizeof(path), "%s", input->node_cgroup) >= (int)sizeof(path))
		return;
	for (;;) {
		char *slash = strrchr(path, '/');
		uint64_t used, max;

		if (!slash || (size_t)(slash - path) <= mount_len)
			return;
		*slash = '\0';
		if (read_counter(path, "pids.max", &max) == 0 && max != LIMIT_NONE &&
		    read_counter(path, "pids.current", &used) == 0)
			limit_set_add(limits, LIMIT_SCOPE_CGROUP, path + mount_len, used, max);
	}
}

static void add_tree(const struct node_limits_input *input, struct limit_set *limits)
{
	const struct cgroup_entry *entries;
	char path[LIMIT_NAME_MAX];
	size_t n;

	entries = cgroup_tree_entries(input->tree, &n);
	for (size_t i = 0; i < n; i++) {
		struct limit *limit;

		if (entries[i].id == 0 || !entries[i].has_pids)
			continue;
		if (i == 0 && input->own_root)
			snprintf(path, sizeof(path), "node");
		else if (entries[i].kind == CGROUP_KUBEPODS || entries[i].kind == CGROUP_QOS)
			cgroup_tree_path(input->tree, (uint32_t)i, path, sizeof(path));
		else
			continue;
		limit = limit_set_add(limits, LIMIT_SCOPE_CGROUP, path, entries[i].current,
				      entries[i].max);
		if (limit)
			limit->cgroup_id = entries[i].id;
	}
}

void node_limits_fill(const struct node_limits_input *input, struct node_row *node)
{
	const struct node_facts *facts = input->facts;

	node->pids_allocated = input->pids_allocated;
	node->pids_allocated_exact = input->pids_allocated > 0;
	if (facts) {
		/* Numbers kept by dead group and session leaders are missing from the task count:
		 * without BPF the use is a lower bound, and the snapshot says so. */
		uint64_t used = input->pids_allocated > 0 ? input->pids_allocated : facts->tasks;
		uint64_t pid_max = input->root_pid_max > 0 ? input->root_pid_max : facts->pid_max;

		limit_set_add(&node->limits, LIMIT_SCOPE_NODE_PIDS, "pid_max", used, pid_max);
		limit_set_add(&node->limits, LIMIT_SCOPE_NODE_THREADS, "threads_max", facts->tasks,
			      facts->threads_max);
	}
	if (input->own_root)
		add_ancestors(input, &node->limits);
	add_tree(input, &node->limits);
}
