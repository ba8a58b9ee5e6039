// SPDX-License-Identifier: Apache-2.0
#include "node.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/clean.h"
#include "base/log.h"
#include "base/parse.h"

/* Two generators that start at once settle in this time who comes first. */
#define LOCK_TRIES 50
#define LOCK_PAUSE_US 20000
#define REMOVE_MS 5000
/* What a canary has to write its report in. */
#define ASK_TRIES 50
#define ASK_PAUSE_US 20000

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static bool is_demo_name(const char *name)
{
	return strncmp(name, NODE_NAME_PREFIX, strlen(NODE_NAME_PREFIX)) == 0;
}

static int lock_dir(const char *dir, int tries, int *ret_fd)
{
	clean_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno != EWOULDBLOCK || --tries <= 0)
			return -errno;
		usleep(LOCK_PAUSE_US);
	}
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* Nodes whose lock nobody holds any more: their generator is dead. */
static void remove_leftovers(const struct cgtree *tree, const char *except)
{
	clean_dir DIR *dir = opendir(tree->mount);
	const struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		clean_close int lock_fd = -1;
		char path[PATH_MAX];
		int err;

		if (entry->d_type != DT_DIR || !is_demo_name(entry->d_name) ||
		    snprintf(path, sizeof(path), "%s/%s", tree->mount, entry->d_name) >=
			    (int)sizeof(path) ||
		    strcmp(path, except) == 0 || lock_dir(path, 1, &lock_fd) < 0)
			continue;
		err = cgtree_remove(path, REMOVE_MS, false);
		if (err < 0)
			log_warn("%s: left by a dead generator, and not to be removed: %s", path,
				 strerror(-err));
		else
			log_info("%s: left by a dead generator, removed", path);
	}
}

static int fail(int err, char *why, size_t size, const char *what, const char *dir)
{
	snprintf(why, size, "%s %s: %s", what, dir, strerror(-err));
	return err;
}

/* Everything that must be right before anything is killed or made in @node->dir. */
static int check_dir(const struct node *node, char *why, size_t size)
{
	size_t mount_len = strlen(node->tree.mount);
	char path[PATH_MAX + 16];

	if (strncmp(node->dir, node->tree.mount, mount_len) != 0 || node->dir[mount_len] != '/' ||
	    strcmp(node->dir + mount_len, "/") == 0 || strstr(node->dir, "/..")) {
		snprintf(why, size, "%s is not a directory below %s, where the pids controller is",
			 node->dir, node->tree.mount);
		return -EINVAL;
	}
	snprintf(path, sizeof(path), "%s/kubepods", node->dir);
	if (!is_demo_name(base_name(node->dir)) && access(path, F_OK) == 0) {
		snprintf(why, size,
			 "%s exists: only a node named %s... is emptied, this one may be real",
			 path, NODE_NAME_PREFIX);
		return -EEXIST;
	}
	return 0;
}

static int make_dirs(struct node *node, char *why, size_t size)
{
	int err;

	err = cgtree_make(&node->tree, node->pods_dir);
	if (err < 0)
		return fail(err, why, size, "cannot make", node->pods_dir);
	err = cgtree_make(&node->tree, node->system_dir);
	if (err < 0)
		return fail(err, why, size, "cannot make", node->system_dir);
	/* The system slice has leaves only; its children get the pids controller too. */
	err = cgtree_enter(node->system_dir);
	if (err < 0)
		return fail(err, why, size, "cannot enter", node->system_dir);
	return 0;
}

static int take_dir(struct node *node, uint64_t pids, char *why, size_t size)
{
	clean_close int top_fd = -1;
	char path[PATH_MAX + 32], value[24];
	struct stat st;
	int err;

	/* Between mkdir and flock a new node looks like a dead generator's: one at a time. */
	err = lock_dir(node->tree.mount, LOCK_TRIES, &top_fd);
	if (err < 0)
		return fail(err, why, size, "cannot lock", node->tree.mount);
	remove_leftovers(&node->tree, node->dir);
	node->made = stat(node->dir, &st) < 0;
	err = cgtree_make(&node->tree, node->dir);
	if (err < 0)
		return fail(err, why, size, "cannot make", node->dir);
	err = lock_dir(node->dir, 1, &node->lock_fd);
	if (err < 0) {
		node->made = false;
		snprintf(why, size, "%s is in use by another generator", node->dir);
		return err;
	}
	/* Given twice to generators of which the first was killed. The rest of the system slice
	 * (a canary) is its own owner's. */
	snprintf(path, sizeof(path), "%s/kubepods", node->dir);
	err = cgtree_remove(path, REMOVE_MS, false);
	if (err == 0)
		err = cgtree_remove(node->system_dir, REMOVE_MS, false);
	if (err < 0)
		return fail(err, why, size, "cannot remove a dead generator's pods below",
			    node->dir);
	if (pids > 0) {
		snprintf(value, sizeof(value), "%" PRIu64, pids);
		err = cgtree_write(node->dir, "pids.max", value);
		if (err < 0)
			return fail(err, why, size, "cannot set pids.max of", node->dir);
	}
	err = cgtree_read_u64(node->dir, "pids.max", &node->limit);
	if (err < 0)
		return fail(err, why, size, "cannot read pids.max of", node->dir);
	return make_dirs(node, why, size);
}

int node_open(struct node *ret_node, const char *dir, uint64_t pids, char *why, size_t why_size)
{
	struct node node = { .lock_fd = -1, .current_fd = -1 };
	char path[PATH_MAX + 32];
	int err;

	err = cgtree_find(&node.tree);
	if (err < 0)
		return fail(err, why, why_size, "no pids controller in", "/proc/self/mountinfo");
	if (dir)
		snprintf(node.dir, sizeof(node.dir), "%s", dir);
	else if (snprintf(node.dir, sizeof(node.dir), "%s/" NODE_NAME_PREFIX "%d", node.tree.mount,
			  getpid()) >= (int)sizeof(node.dir))
		return fail(-ENAMETOOLONG, why, why_size, "cannot make a node below",
			    node.tree.mount);
	if (strlen(node.dir) > PATH_MAX - 256)
		return fail(-ENAMETOOLONG, why, why_size, "cannot use", "the node's directory");
	while (strlen(node.dir) > 1 && node.dir[strlen(node.dir) - 1] == '/')
		node.dir[strlen(node.dir) - 1] = '\0';
	err = check_dir(&node, why, why_size);
	if (err < 0)
		return err;
	snprintf(path, sizeof(path), "%s/kubepods/burstable", node.dir);
	memcpy(node.pods_dir, path, sizeof(node.pods_dir));
	snprintf(path, sizeof(path), "%s/system/buildgen", node.dir);
	memcpy(node.system_dir, path, sizeof(node.system_dir));

	err = take_dir(&node, pids, why, why_size);
	if (err == 0) {
		snprintf(path, sizeof(path), "%s/pids.current", node.dir);
		node.current_fd = open(path, O_RDONLY | O_CLOEXEC);
		if (node.current_fd < 0)
			err = fail(-errno, why, why_size, "cannot open", path);
	}
	if (err < 0) {
		/* A lock not gained: the directory is another's. */
		if (node.lock_fd >= 0)
			node_close(&node);
		return err;
	}
	*ret_node = node;
	return 0;
}

/* Others in the system slice (a canary) are asked before they are killed. */
static void ask_others(const struct node *node)
{
	char system[PATH_MAX + 16], path[2 * PATH_MAX];
	int left = 1;

	snprintf(system, sizeof(system), "%s/system", node->dir);
	for (int i = 0; i < ASK_TRIES && left > 0; i++) {
		clean_dir DIR *dir = opendir(system);
		const struct dirent *entry;

		left = 0;
		while (dir && (entry = readdir(dir))) {
			if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
				continue;
			snprintf(path, sizeof(path), "%s/%s", system, entry->d_name);
			left += cgtree_ask_to_end(path) > 0;
		}
		if (left > 0)
			usleep(ASK_PAUSE_US);
	}
}

int node_close(struct node *node)
{
	char path[PATH_MAX + 32];
	int err = 0, result = 0;

	if (node->dir[0] == '\0')
		return 0;
	if (cgtree_enter(node->tree.self) < 0)
		cgtree_enter(node->tree.mount);
	if (node->made) {
		ask_others(node);
		result = cgtree_remove(node->dir, REMOVE_MS, true);
	} else {
		snprintf(path, sizeof(path), "%s/kubepods", node->dir);
		result = cgtree_remove(path, REMOVE_MS, true);
		err = cgtree_remove(node->system_dir, REMOVE_MS, true);
		if (result == 0)
			result = err;
		/* Only when nobody else (a canary) is there. */
		snprintf(path, sizeof(path), "%s/system", node->dir);
		rmdir(path);
	}
	if (node->current_fd >= 0)
		close(node->current_fd);
	if (node->lock_fd >= 0)
		close(node->lock_fd);
	*node = (struct node){ .lock_fd = -1, .current_fd = -1 };
	return result;
}

int node_sample(struct node *node, uint64_t *ret_current)
{
	char data[32];
	ssize_t len = pread(node->current_fd, data, sizeof(data) - 1, 0);
	uint64_t current;
	int err;

	if (len < 0)
		return -errno;
	data[len] = '\0';
	data[strcspn(data, "\n")] = '\0';
	err = parse_u64(data, &current);
	if (err < 0)
		return err;
	if (current > node->peak)
		node->peak = current;
	*ret_current = current;
	return 0;
}

uint64_t node_peak(const struct node *node, const char **ret_source)
{
	uint64_t peak;

	if (cgtree_read_u64(node->dir, "pids.peak", &peak) == 0) {
		*ret_source = "pids.peak";
		/* A process that moves between two leaves is charged twice for a moment, and moving is
		 * not stopped by a limit (pids_can_attach()). */
		return peak < node->limit ? peak : node->limit;
	}
	*ret_source = "pids.current every 20 ms";
	return node->peak;
}
