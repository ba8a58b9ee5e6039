// SPDX-License-Identifier: Apache-2.0
#include "readers.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/cgroup_totals.h"
#include "node_limits.h"
#include "read/bpf_probe.h"
#include "read/cgroup_mount.h"
#include "read/cgroup_tree.h"
#include "read/node_facts.h"

#define CGROUPS_MAX 65536
/* Kept free of pids.current files: sockets, maps, rings. */
#define FDS_RESERVED 256

struct readers {
	const struct options *options;
	struct cgroup_mount mount;
	const char *root; /* directory of the node: --node-cgroup, or the mount */
	struct cgroup_tree *tree;
	struct bpf_probe *probe; /* NULL: counts of cgroups only */
	char bpf_error[512];
	struct cgroup_totals *totals;
	struct join *join;
	/* The root's cgroup id and the node's totals at the last read. */
	uint64_t root_id;
	struct task_totals node_totals;
};

static size_t max_counter_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= 2 * FDS_RESERVED)
		return 0;
	return limit.rlim_cur == RLIM_INFINITY ? CGROUPS_MAX :
						 (size_t)limit.rlim_cur - FDS_RESERVED;
}

static bool counts_pids(const char *dir)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/pids.current", dir) < (int)sizeof(path) &&
	       access(path, F_OK) == 0;
}

/* The node's cgroup is gone. One made again under its name (a nested node that was restarted) is
 * taken up like a new one. @err: what the old tree said. */
static int reopen_tree(struct readers *readers, int64_t now_ms, int err)
{
	struct cgroup_tree *tree;

	if (!counts_pids(readers->root) ||
	    cgroup_tree_new(readers->root, CGROUPS_MAX, max_counter_fds(), &tree) < 0)
		return err;
	err = cgroup_tree_refresh(tree, now_ms);
	if (err < 0) {
		cgroup_tree_free(tree);
		return err;
	}
	cgroup_tree_free(readers->tree);
	readers->tree = tree;
	log_info("cgroup directory %s was made again: watching the new one", readers->root);
	return 0;
}

static void read_counts(struct readers *readers)
{
	int err;

	if (!readers->probe)
		return;
	err = bpf_probe_update(readers->probe, readers->totals);
	if (err < 0)
		log_debug("BPF counters: %s", strerror(-err));
	/* Parents inherit before the join sums subtrees, so that a container that went between two
	 * ticks is in its pod's totals. */
	cgroup_totals_settle(readers->totals);
}

static void read_limits(struct readers *readers, const struct node_facts *facts,
			struct node_row *node)
{
	const char *node_cgroup = readers->options->node_cgroup;
	struct node_limits_input input = {
		.facts = facts,
		.tree = readers->tree,
		.own_root = node_cgroup[0] != '\0',
		.mount = readers->mount.path,
		.node_cgroup = node_cgroup,
	};

	if (readers->probe)
		bpf_probe_node_pids(readers->probe, &input.pids_allocated, &input.root_pid_max);
	node_limits_fill(&input, node);
}

static void fill_node(struct readers *readers, struct node_row *node)
{
	struct task_totals *totals = &node->totals;
	const struct cgroup_entry *entries;
	size_t n;

	snprintf(node->name, sizeof(node->name), "%s", readers->options->node_name);
	node->cgroup_mode = cgroup_mode_name(readers->mount.mode);
	node->counting = readers->probe != NULL;
	if (!readers->totals)
		return;
	cgroup_totals_node(readers->totals, totals);
	if (readers->options->node_cgroup[0] == '\0')
		return;
	/* A node that is a subtree: what was counted elsewhere on the machine is not its. */
	memset(totals, 0, sizeof(*totals));
	entries = cgroup_tree_entries(readers->tree, &n);
	for (size_t i = 0; i < n; i++) {
		const struct cgroup_total *total =
			entries[i].id != 0 ? cgroup_totals_find(readers->totals, entries[i].id) :
					     NULL;

		if (total) {
			task_totals_add(totals, &total->own);
			task_totals_add(totals, &total->inherited);
		}
	}
	/* Tree and counters are read one after the other: a cgroup that is just being removed may be
	 * in neither for one tick, and a counter must not fall. */
	if (entries[0].id == readers->root_id)
		task_totals_keep(totals, &readers->node_totals);
	readers->root_id = entries[0].id;
	readers->node_totals = *totals;
}

int readers_read(struct readers *readers, const struct pod_table *pods, int64_t now_ms,
		 struct snapshot *snapshot)
{
	struct node_facts facts = { 0 };
	struct join_input input;
	bool facts_known;
	int err;

	err = cgroup_tree_refresh(readers->tree, now_ms);
	if (err == -ENOENT || err == -ENODEV)
		err = reopen_tree(readers, now_ms, err);
	if (err < 0)
		return err;
	read_counts(readers);
	facts_known = node_facts_read(readers->options->proc_root, &facts) == 0;
	snapshot_reset(snapshot);
	snapshot->mono_ms = now_ms;
	snapshot->wall_ms = clock_wall_ms();
	input = (struct join_input){
		.tree = readers->tree,
		.totals = readers->totals,
		.pods = pods,
		.now_ms = now_ms,
		.wall_ms = snapshot->wall_ms,
		.node_tasks = facts.tasks,
	};
	err = join_rows(readers->join, &input, snapshot);
	if (err < 0)
		return err;
	read_limits(readers, facts_known ? &facts : NULL, &snapshot->node);
	fill_node(readers, &snapshot->node);
	return 0;
}

void readers_drain(struct readers *readers)
{
	bpf_probe_drain(readers->probe, readers->totals);
}

static int open_cgroups(struct readers *readers)
{
	const struct options *options = readers->options;
	int err;

	err = cgroup_mount_find(options->proc_root, options->cgroup_root, &readers->mount);
	if (err < 0) {
		log_error(
			"no cgroup hierarchy with the pids controller %s%s: nothing can be counted",
			options->cgroup_root[0] != '\0' ? "below " : "is mounted",
			options->cgroup_root);
		return err;
	}
	readers->root = options->node_cgroup[0] != '\0' ? options->node_cgroup :
							  readers->mount.path;
	if (strcmp(readers->root, readers->mount.path) != 0 && !counts_pids(readers->root)) {
		log_error("node-cgroup %s: no cgroup in which pids are counted (it has no file "
			  "pids.current); the pids hierarchy is at %s",
			  readers->root, readers->mount.path);
		return -EINVAL;
	}
	err = cgroup_tree_new(readers->root, CGROUPS_MAX, max_counter_fds(), &readers->tree);
	if (err < 0) {
		log_error("cgroup directory %s: %s", readers->root, strerror(-err));
		return err;
	}
	log_info("cgroups: %s, pids hierarchy at %s, node is %s",
		 cgroup_mode_name(readers->mount.mode), readers->mount.path, readers->root);
	return 0;
}

/* Without BPF the agent runs on: what is lost is said here and shown on every surface. */
static int open_probe(struct readers *readers)
{
	struct bpf_probe_error why;
	int err;

	if (readers->options->no_bpf) {
		snprintf(readers->bpf_error, sizeof(readers->bpf_error),
			 "switched off by --no-bpf");
		log_info("BPF is switched off: cgroup counts only");
		return 0;
	}
	err = bpf_probe_new(NULL, &readers->probe, &why);
	if (err < 0) {
		snprintf(readers->bpf_error, sizeof(readers->bpf_error), "%s", why.text);
		log_warn("%s", why.text);
		if (why.detail[0] != '\0')
			log_info("libbpf: %s", why.detail);
		readers->probe = NULL;
		return 0;
	}
	err = cgroup_totals_new(CGROUPS_MAX, &readers->totals);
	if (err < 0)
		return err;
	/* Parsing BTF takes 12 MB of which 1.4 MB stay: give the rest back. */
	malloc_trim(0);
	return 0;
}

int readers_new(const struct options *options, struct readers **ret_readers)
{
	struct readers *readers = calloc(1, sizeof(*readers));
	int err;

	if (!readers)
		return -ENOMEM;
	readers->options = options;
	err = open_cgroups(readers);
	if (err == 0)
		err = open_probe(readers);
	if (err == 0)
		err = join_new(&readers->join);
	if (err < 0) {
		readers_free(readers);
		return err;
	}
	*ret_readers = readers;
	return 0;
}

void readers_free(struct readers *readers)
{
	if (!readers)
		return;
	join_free(readers->join);
	cgroup_totals_free(readers->totals);
	bpf_probe_free(readers->probe);
	cgroup_tree_free(readers->tree);
	free(readers);
}

struct bpf_probe *readers_probe(const struct readers *readers)
{
	return readers->probe;
}

const char *readers_bpf_error(const struct readers *readers)
{
	return readers->bpf_error;
}

struct join *readers_join(const struct readers *readers)
{
	return readers->join;
}
