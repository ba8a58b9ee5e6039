// SPDX-License-Identifier: Apache-2.0
#include "read/cgroup_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/parse.h"
#include "core/limits.h"

/* A full pass guards against anything that inotify missed. */
#define FULL_PASS_MS 60000
#define MAX_TURNS 10 /* passes within which every pids.max is read again */

/* Open addressing from a non-zero key to an entry's index; 0 marks a free slot. */
struct index_map {
	struct {
		uint64_t key;
		uint32_t index;
	} * slots;
	size_t size; /* power of two */
	size_t n;
};

struct cgroup_tree {
	int root_fd;
	int inotify_fd;
	struct cgroup_entry *entries;
	size_t n, cap, used;
	uint32_t free_head; /* through next_sibling */
	struct index_map by_id, by_watch;
	size_t max_entries, max_fds, n_fds, n_watches, n_nested;
	uint32_t pass;
	int64_t full_pass_ms; /* monotonic time of the last one */
	bool full_pass;
	uint64_t dropped;
	struct cgroup_tree_stats stats;
};

static size_t map_slot(const struct index_map *map, uint64_t key)
{
	/* Fibonacci hashing: ids and watch descriptors are dense, their low bits will do badly. */
	size_t at = (size_t)(key * 0x9e3779b97f4a7c15ULL >> 32) & (map->size - 1);

	while (map->slots[at].key != 0 && map->slots[at].key != key)
		at = (at + 1) & (map->size - 1);
	return at;
}

static uint32_t map_get(const struct index_map *map, uint64_t key)
{
	size_t at;

	if (map->size == 0)
		return CGROUP_INDEX_NONE;
	at = map_slot(map, key);
	return map->slots[at].key == key ? map->slots[at].index : CGROUP_INDEX_NONE;
}

static int map_put(struct index_map *map, uint64_t key, uint32_t index)
{
	size_t at;

	if ((map->n + 1) * 2 > map->size) {
		struct index_map grown = { .size = map->size > 0 ? map->size * 2 : 64 };

		grown.slots = calloc(grown.size, sizeof(*grown.slots));
		if (!grown.slots)
			return -ENOMEM;
		for (size_t i = 0; i < map->size; i++) {
			if (map->slots[i].key != 0)
				grown.slots[map_slot(&grown, map->slots[i].key)] = map->slots[i];
		}
		grown.n = map->n;
		free(map->slots);
		*map = grown;
	}
	at = map_slot(map, key);
	if (map->slots[at].key == 0)
		map->n++;
	map->slots[at].key = key;
	map->slots[at].index = index;
	return 0;
}

static void map_remove(struct index_map *map, uint64_t key)
{
	size_t hole, at;

	if (map->size == 0)
		return;
	hole = map_slot(map, key);
	if (map->slots[hole].key != key)
		return;
	map->slots[hole].key = 0;
	map->n--;
	/* Those that follow in the cluster may have been pushed past the hole: put them again. */
	for (at = (hole + 1) & (map->size - 1); map->slots[at].key != 0;
	     at = (at + 1) & (map->size - 1)) {
		uint64_t moved = map->slots[at].key;
		uint32_t index = map->slots[at].index;
		size_t to;

		map->slots[at].key = 0;
		to = map_slot(map, moved);
		map->slots[to].key = moved;
		map->slots[to].index = index;
	}
}

/* Path relative to the root's fd: "." or "a/b". -ENAMETOOLONG. */
static int relative_path(const struct cgroup_tree *tree, uint32_t index, char *path, size_t size)
{
	size_t at = size;

	if (index == 0) {
		if (size < 2)
			return -ENAMETOOLONG;
		memcpy(path, ".", 2);
		return 0;
	}
	path[--at] = '\0';
	while (index != 0) {
		const struct cgroup_entry *entry = &tree->entries[index];
		size_t len = strlen(entry->name);

		if (len + 1 > at)
			return -ENAMETOOLONG;
		at -= len;
		memcpy(path + at, entry->name, len);
		index = entry->parent;
		if (index != 0)
			path[--at] = '/';
	}
	memmove(path, path + at, size - at);
	return 0;
}

static int file_path(const struct cgroup_tree *tree, uint32_t index, const char *file, char *path,
		     size_t size)
{
	int err = relative_path(tree, index, path, size);
	size_t len;

	if (err < 0)
		return err;
	len = strlen(path);
	if ((size_t)snprintf(path + len, size - len, "/%s", file) >= size - len)
		return -ENAMETOOLONG;
	return 0;
}

static uint32_t entry_new(struct cgroup_tree *tree)
{
	uint32_t index = tree->free_head;

	if (index != CGROUP_INDEX_NONE) {
		tree->free_head = tree->entries[index].next_sibling;
	} else {
		if (tree->n == tree->max_entries)
			return CGROUP_INDEX_NONE;
		if (tree->n == tree->cap) {
			size_t cap = tree->cap > 0 ? tree->cap * 2 : 64;
			struct cgroup_entry *entries =
				reallocarray(tree->entries, cap, sizeof(*entries));

			if (!entries)
				return CGROUP_INDEX_NONE;
			tree->entries = entries;
			tree->cap = cap;
		}
		index = (uint32_t)tree->n++;
	}
	tree->entries[index] = (struct cgroup_entry){
		.parent = CGROUP_INDEX_NONE,
		.first_child = CGROUP_INDEX_NONE,
		.next_sibling = CGROUP_INDEX_NONE,
		.max = LIMIT_NONE,
		.fd = -1,
		.watch = -1,
	};
	tree->used++;
	return index;
}

/* Releases one entry whose children are gone; the caller has unlinked it. */
static void entry_release(struct cgroup_tree *tree, uint32_t index)
{
	struct cgroup_entry *entry = &tree->entries[index];

	if (entry->id != 0 && map_get(&tree->by_id, entry->id) == index)
		map_remove(&tree->by_id, entry->id);
	if (entry->watch >= 0) {
		/* The kernel drops the watch of a removed directory by itself. */
		inotify_rm_watch(tree->inotify_fd, entry->watch);
		map_remove(&tree->by_watch, (uint64_t)entry->watch + 1);
		tree->n_watches--;
	}
	if (entry->fd >= 0) {
		close(entry->fd);
		tree->n_fds--;
	}
	tree->n_nested -= entry->kind == CGROUP_NESTED;
	free(entry->name);
	*entry = (struct cgroup_entry){ .fd = -1, .watch = -1, .next_sibling = tree->free_head };
	tree->free_head = index;
	tree->used--;
}

/* Unlinks @index from its parent and releases it with all below it, without recursion: a pod may
 * nest its cgroups as deep as the kernel lets it. */
static void subtree_remove(struct cgroup_tree *tree, uint32_t index)
{
	uint32_t *link = &tree->entries[tree->entries[index].parent].first_child;
	uint32_t at = index;

	while (*link != index)
		link = &tree->entries[*link].next_sibling;
	*link = tree->entries[index].next_sibling;
	for (;;) {
		uint32_t child = tree->entries[at].first_child, parent;

		if (child != CGROUP_INDEX_NONE) {
			at = child;
			continue;
		}
		parent = tree->entries[at].parent;
		if (at != index)
			tree->entries[parent].first_child = tree->entries[at].next_sibling;
		entry_release(tree, at);
		if (at == index)
			return;
		at = parent;
	}
}

/* Nested cgroups are kept for their ids alone: their tasks are in their container's count. */
static bool wants_counts(const struct cgroup_entry *entry)
{
	return entry->kind != CGROUP_NESTED;
}

static void open_counter(struct cgroup_tree *tree, uint32_t index)
{
	struct cgroup_entry *entry = &tree->entries[index];
	char path[PATH_MAX];

	if (!wants_counts(entry) || file_path(tree, index, "pids.current", path, sizeof(path)) < 0)
		return;
	if (tree->n_fds < tree->max_fds) {
		entry->fd = openat(tree->root_fd, path, O_RDONLY | O_CLOEXEC);
		entry->has_pids = entry->fd >= 0;
		tree->n_fds += entry->fd >= 0;
	} else {
		entry->has_pids = faccessat(tree->root_fd, path, F_OK, 0) == 0;
	}
}

static void watch_directory(struct cgroup_tree *tree, uint32_t index)
{
	struct cgroup_entry *entry = &tree->entries[index];
	char path[PATH_MAX], fd_path[PATH_MAX + 64];

	if (tree->inotify_fd < 0 || relative_path(tree, index, path, sizeof(path)) < 0)
		return;
	/* inotify knows no openat(): go through the root's fd, so that a mount that is moved or
	 * covered meanwhile does not matter. */
	snprintf(fd_path, sizeof(fd_path), "/proc/self/fd/%d/%s", tree->root_fd, path);
	entry->watch =
		inotify_add_watch(tree->inotify_fd, fd_path,
				  IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_ONLYDIR);
	if (entry->watch < 0)
		return;
	if (map_put(&tree->by_watch, (uint64_t)entry->watch + 1, index) < 0) {
		inotify_rm_watch(tree->inotify_fd, entry->watch);
		entry->watch = -1;
		return;
	}
	tree->n_watches++;
}

static int parse_limit(const char *text, uint64_t *ret_max)
{
	if (strncmp(text, "max", 3) == 0) {
		*ret_max = LIMIT_NONE;
		return 0;
	}
	return parse_u64(text, ret_max);
}

static void read_max(struct cgroup_tree *tree, uint32_t index)
{
	struct cgroup_entry *entry = &tree->entries[index];
	char path[PATH_MAX], text[32];

	if (!entry->has_pids || file_path(tree, index, "pids.max", path, sizeof(path)) < 0)
		return;
	if (read_small_file(tree->root_fd, path, text, sizeof(text)) <= 0)
		return;
	text[strcspn(text, "\n")] = '\0';
	parse_limit(text, &entry->max);
}

/* 0, or -ENODEV/-ENOENT when the cgroup is gone. */
static int read_current(struct cgroup_tree *tree, uint32_t index)
{
	struct cgroup_entry *entry = &tree->entries[index];
	char text[32];
	ssize_t n;

	if (entry->fd >= 0) {
		n = pread(entry->fd, text, sizeof(text) - 1, 0);
		if (n < 0)
			return -errno;
	} else {
		char path[PATH_MAX];
		int err = file_path(tree, index, "pids.current", path, sizeof(path));

		if (err < 0)
			return err;
		n = read_small_file(tree->root_fd, path, text, sizeof(text));
		if (n < 0)
			return (int)n;
	}
	text[n] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, &entry->current);
}

static void child_add(struct cgroup_tree *tree, uint32_t parent, const char *name, uint64_t id,
		      int64_t now_ms)
{
	enum cgroup_kind kind = cgroup_path_kind(tree->entries[parent].kind, name);
	struct cgroup_entry *entry;
	uint32_t index;
	char *copy;

	/* A build that nests cgroups without end must not take the rows of other pods. */
	if (kind == CGROUP_NESTED && tree->n_nested >= tree->max_entries / 4) {
		tree->dropped++;
		return;
	}
	copy = strdup(name);
	index = copy ? entry_new(tree) : CGROUP_INDEX_NONE;
	if (index == CGROUP_INDEX_NONE) {
		free(copy);
		tree->dropped++;
		return;
	}
	entry = &tree->entries[index];
	entry->id = id;
	entry->name = copy;
	entry->parent = parent;
	entry->kind = kind;
	tree->n_nested += kind == CGROUP_NESTED;
	entry->next_sibling = tree->entries[parent].first_child;
	tree->entries[parent].first_child = index;
	entry->first_seen_ms = now_ms;
	entry->seen = tree->pass;
	entry->scanned = tree->pass - 1;
	entry->dirty = true;
	if (map_put(&tree->by_id, id, index) < 0) {
		subtree_remove(tree, index);
		tree->dropped++;
		return;
	}
	/* Watched before it is listed: what appears in between is then seen twice, not never. */
	watch_directory(tree, index);
	open_counter(tree, index);
	read_max(tree, index);
}

/*
 * Lists one directory and puts its children right. Children are matched by inode, so that a
 * directory removed and made again under its name is a new cgroup (the old one is not seen in this
 * pass and goes at its end).
 */
static int scan_directory(struct cgroup_tree *tree, uint32_t index, int64_t now_ms)
{
	char path[PATH_MAX];
	clean_dir DIR *dir = NULL;
	struct dirent *item;
	uint32_t at, next;
	int fd, err;

	err = relative_path(tree, index, path, sizeof(path));
	if (err < 0)
		return err;
	fd = openat(tree->root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (!dir) {
		err = -errno;
		close(fd);
		return err;
	}
	tree->stats.scans++;
	while ((item = readdir(dir)) != NULL) {
		uint32_t child;

		if (item->d_type != DT_DIR || strcmp(item->d_name, ".") == 0 ||
		    strcmp(item->d_name, "..") == 0)
			continue;
		child = map_get(&tree->by_id, item->d_ino);
		if (child != CGROUP_INDEX_NONE && tree->entries[child].parent == index &&
		    strcmp(tree->entries[child].name, item->d_name) == 0) {
			tree->entries[child].seen = tree->pass;
			continue;
		}
		/* The id elsewhere or under another name (v1 allows rename(2)): start afresh. */
		if (child != CGROUP_INDEX_NONE && child != 0)
			subtree_remove(tree, child);
		child_add(tree, index, item->d_name, item->d_ino, now_ms);
	}
	for (at = tree->entries[index].first_child; at != CGROUP_INDEX_NONE; at = next) {
		next = tree->entries[at].next_sibling;
		if (tree->entries[at].seen != tree->pass)
			subtree_remove(tree, at);
	}
	return 0;
}

static void mark_dirty(struct cgroup_tree *tree, int watch)
{
	uint32_t index = map_get(&tree->by_watch, (uint64_t)watch + 1);

	if (index != CGROUP_INDEX_NONE)
		tree->entries[index].dirty = true;
}

static void take_notifications(struct cgroup_tree *tree)
{
	char events[16384] __attribute__((aligned(__alignof__(struct inotify_event))));
	ssize_t n;

	if (tree->inotify_fd < 0)
		return;
	/* Bounded: a pod that makes cgroups as fast as it can must not keep us here. */
	for (int round = 0; round < 64; round++) {
		n = read(tree->inotify_fd, events, sizeof(events));
		if (n <= 0)
			return;
		for (char *at = events; at < events + n;) {
			const struct inotify_event *event = (const void *)at;

			if (event->mask & IN_Q_OVERFLOW) {
				tree->full_pass = true;
				tree->stats.overflows++;
			} else if (event->mask & IN_ISDIR) {
				mark_dirty(tree, event->wd);
			}
			at += sizeof(*event) + event->len;
		}
	}
	tree->full_pass = true;
}

/*
 * v2: the directory was there before "+pids" was written above it, so its files came later, and no
 * notification says so. What belongs to a pod is looked for on every pass.
 */
static void look_for_counter(struct cgroup_tree *tree, uint32_t index)
{
	if (tree->entries[index].kind == CGROUP_OTHER &&
	    index % MAX_TURNS != tree->pass % MAX_TURNS)
		return;
	open_counter(tree, index);
	read_max(tree, index);
}

static bool binds_for_node(const struct cgroup_entry *entry)
{
	return entry->kind == CGROUP_KUBEPODS || entry->kind == CGROUP_QOS;
}

int cgroup_tree_refresh(struct cgroup_tree *tree, int64_t now_ms)
{
	int err;

	tree->pass++;
	take_notifications(tree);
	if (now_ms - tree->full_pass_ms >= FULL_PASS_MS)
		tree->full_pass = true;
	if (tree->full_pass) {
		tree->dropped = 0;
		tree->full_pass_ms = now_ms;
	}
	/* A new child may take a free entry before the cursor: go round until nothing is listed. */
	for (bool again = true; again;) {
		again = false;
		for (uint32_t i = 0; i < tree->n; i++) {
			struct cgroup_entry *entry = &tree->entries[i];

			if (entry->id == 0 || entry->scanned == tree->pass)
				continue;
			if (!entry->dirty && !tree->full_pass && entry->watch >= 0)
				continue;
			entry->scanned = tree->pass;
			entry->dirty = false;
			err = scan_directory(tree, i, now_ms);
			if (err < 0 && i == 0)
				return err;
			again = true;
		}
	}
	tree->full_pass = false;
	for (uint32_t i = 0; i < tree->n; i++) {
		struct cgroup_entry *entry = &tree->entries[i];

		if (entry->id == 0)
			continue;
		if (!entry->has_pids)
			look_for_counter(tree, i);
		if (!entry->has_pids)
			continue;
		err = read_current(tree, i);
		if (err == -ENODEV || err == -ENOENT) {
			if (i == 0)
				return err;
			tree->entries[entry->parent].dirty = true;
			subtree_remove(tree, i);
			continue;
		}
		if (binds_for_node(entry) || i == 0 || i % MAX_TURNS == tree->pass % MAX_TURNS)
			read_max(tree, i);
	}
	return 0;
}

int cgroup_tree_new(const char *root, size_t max_entries, size_t max_fds,
		    struct cgroup_tree **ret_tree)
{
	struct cgroup_tree *tree;
	struct cgroup_entry *entry;
	struct stat st;
	int err;

	tree = calloc(1, sizeof(*tree));
	if (!tree)
		return -ENOMEM;
	tree->inotify_fd = -1;
	tree->free_head = CGROUP_INDEX_NONE;
	tree->max_entries = max_entries;
	tree->max_fds = max_fds;
	tree->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (tree->root_fd < 0 || fstat(tree->root_fd, &st) < 0) {
		err = -errno;
		goto fail;
	}
	/* Without inotify every directory is listed on every pass: slower, not wrong. */
	tree->inotify_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	err = -ENOMEM;
	if (entry_new(tree) != 0)
		goto fail;
	entry = &tree->entries[0];
	entry->id = st.st_ino;
	entry->kind = CGROUP_OTHER;
	entry->dirty = true;
	entry->name = strdup("");
	if (!entry->name || map_put(&tree->by_id, entry->id, 0) < 0)
		goto fail;
	watch_directory(tree, 0);
	open_counter(tree, 0);
	*ret_tree = tree;
	return 0;
fail:
	cgroup_tree_free(tree);
	return err;
}

void cgroup_tree_free(struct cgroup_tree *tree)
{
	if (!tree)
		return;
	for (size_t i = 0; i < tree->n; i++) {
		if (tree->entries[i].fd >= 0)
			close(tree->entries[i].fd);
		free(tree->entries[i].name);
	}
	if (tree->inotify_fd >= 0)
		close(tree->inotify_fd);
	if (tree->root_fd >= 0)
		close(tree->root_fd);
	free(tree->entries);
	free(tree->by_id.slots);
	free(tree->by_watch.slots);
	free(tree);
}

const struct cgroup_entry *cgroup_tree_entries(const struct cgroup_tree *tree, size_t *ret_n)
{
	*ret_n = tree->n;
	return tree->entries;
}

uint32_t cgroup_tree_find(const struct cgroup_tree *tree, uint64_t id)
{
	return id != 0 ? map_get(&tree->by_id, id) : CGROUP_INDEX_NONE;
}

void cgroup_tree_path(const struct cgroup_tree *tree, uint32_t index, char *ret_path, size_t size)
{
	char path[PATH_MAX];

	if (index == 0 || relative_path(tree, index, path, sizeof(path)) < 0)
		path[0] = '\0';
	snprintf(ret_path, size, "/%s", path);
}

void cgroup_tree_stats(const struct cgroup_tree *tree, struct cgroup_tree_stats *ret_stats)
{
	*ret_stats = tree->stats;
	ret_stats->dropped = tree->dropped;
	ret_stats->entries = tree->used;
	ret_stats->fds = tree->n_fds;
	ret_stats->watches = tree->n_watches;
}
