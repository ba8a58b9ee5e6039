/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of pids cgroups below one directory: which exist, how many tasks they hold, what they
 * may hold. The kernel's own counters (pids.current) are read; nothing is derived.
 * Refuses: names of pods (core/cgroup_path judges a directory's name, the kubelet its identity),
 * and any write.
 */
#ifndef PIDWARDEN_READ_CGROUP_TREE_H
#define PIDWARDEN_READ_CGROUP_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/cgroup_path.h"

#define CGROUP_INDEX_NONE UINT32_MAX

struct cgroup_entry {
	uint64_t
		id; /* the directory's inode number, which is the kernel's cgroup id; 0: free entry */
	char *name; /* the directory's own name; "" for the root */
	uint32_t parent, first_child, next_sibling; /* indices or CGROUP_INDEX_NONE */
	enum cgroup_kind kind;
	bool has_pids; /* pids.current exists (not at the hierarchy's root, nor without +pids on v2) */
	uint64_t current; /* live tasks here and below: threads, and zombies not yet reaped */
	uint64_t max; /* pids.max, LIMIT_NONE for "max" */
	int64_t first_seen_ms; /* monotonic; for those found by the first pass: that pass */
	/* Private to cgroup_tree.c */
	int fd; /* of pids.current, -1: opened for each read */
	int watch; /* inotify, -1: not watched, scanned on every pass */
	bool dirty;
	uint32_t seen, scanned; /* the pass that last saw it, that last listed it */
};

struct cgroup_tree_stats {
	uint64_t scans; /* directories listed */
	uint64_t overflows; /* inotify queue overflows: a full pass followed */
	uint64_t dropped; /* directories left out because of max_entries, at the last full pass */
	size_t entries, fds, watches;
};

struct cgroup_tree;

/*
 * @root: absolute path of the directory that is the node. @max_entries bounds memory, @max_fds the
 * kept-open files. 0 or -errno (-ENOENT: no such directory).
 */
int cgroup_tree_new(const char *root, size_t max_entries, size_t max_fds,
		    struct cgroup_tree **ret_tree);
void cgroup_tree_free(struct cgroup_tree *tree);

/*
 * Brings the tree up to date: directories that changed are listed again, every pids.current is
 * read, pids.max where it can bind for the node each time and elsewhere in turns within 10 passes.
 * A cgroup that vanishes meanwhile is normal. -ENOENT or -ENODEV: the root itself is gone.
 */
int cgroup_tree_refresh(struct cgroup_tree *tree, int64_t now_ms);

/* Entries 0..n-1, entry 0 is the root; free ones have id 0. Valid until the next refresh. */
const struct cgroup_entry *cgroup_tree_entries(const struct cgroup_tree *tree, size_t *ret_n);
/* Index by cgroup id, CGROUP_INDEX_NONE when unknown. */
uint32_t cgroup_tree_find(const struct cgroup_tree *tree, uint64_t id);
/* Path of @index relative to the root, with leading '/'; cut to @size. */
void cgroup_tree_path(const struct cgroup_tree *tree, uint32_t index, char *ret_path, size_t size);
void cgroup_tree_stats(const struct cgroup_tree *tree, struct cgroup_tree_stats *ret_stats);

#endif
