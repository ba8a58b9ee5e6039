// SPDX-License-Identifier: Apache-2.0
#include "cgtree.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/clean.h"
#include "base/clock.h"
#include "base/parse.h"

/* More than a stand-in node's levels; a guard against a tree that grows while it is removed. */
#define DEPTH_MAX 16
/* The signal was sent; exiting takes the killed a moment. */
#define REMOVE_PAUSE_US 5000

/* True when the comma separated @list holds @word. */
static bool list_has(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; (at = strstr(at, word)); at += len) {
		char after = at[len];

		if ((at == list || at[-1] == ',' || at[-1] == ' ') &&
		    (after == '\0' || after == ',' || after == ' ' || after == '\n'))
			return true;
	}
	return false;
}

/* mountinfo escapes space, tab, newline and backslash as three octal digits. */
static void unescape(char *text)
{
	char *out = text;

	for (const char *in = text; *in != '\0'; out++) {
		if (in[0] == '\\' && in[1] >= '0' && in[1] <= '3' && in[2] >= '0' && in[2] <= '7' &&
		    in[3] >= '0' && in[3] <= '7') {
			*out = (char)((in[1] - '0') * 64 + (in[2] - '0') * 8 + (in[3] - '0'));
			in += 4;
		} else {
			*out = *in++;
		}
	}
	*out = '\0';
}

/* The mount with the pids controller: the v1 one when there is one (hybrid), or the first v2. */
static int find_mount(struct cgtree *tree, char root[PATH_MAX])
{
	clean_file FILE *file = fopen("/proc/self/mountinfo", "re");
	char line[3 * PATH_MAX];
	bool found = false;

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		char mount_root[PATH_MAX], mount_point[PATH_MAX], controllers[256];
		char type[32], options[1024];
		const char *rest = strstr(line, " - ");

		if (!rest ||
		    sscanf(line, "%*s %*s %*s %4095s %4095s", mount_root, mount_point) != 2 ||
		    sscanf(rest, " - %31s %*s %1023s", type, options) != 2)
			continue;
		unescape(mount_root);
		unescape(mount_point);
		if (strcmp(type, "cgroup") == 0 && list_has(options, "pids")) {
			tree->v2 = false;
		} else if (strcmp(type, "cgroup2") == 0 && !found) {
			clean_close int fd = open(mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

			if (fd < 0 ||
			    read_small_file(fd, "cgroup.controllers", controllers,
					    sizeof(controllers)) < 0 ||
			    !list_has(controllers, "pids"))
				continue;
			tree->v2 = true;
		} else {
			continue;
		}
		snprintf(tree->mount, sizeof(tree->mount), "%s", mount_point);
		snprintf(root, PATH_MAX, "%s", mount_root);
		found = true;
		if (!tree->v2)
			break;
	}
	return found ? 0 : -ENOENT;
}

/* The caller's path in the hierarchy, as /proc/self/cgroup gives it. */
static int find_self(const struct cgtree *tree, char path[PATH_MAX])
{
	clean_file FILE *file = fopen("/proc/self/cgroup", "re");
	char line[PATH_MAX + 256];

	if (!file)
		return -errno;
	while (fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':'), *at;

		line[strcspn(line, "\n")] = '\0';
		at = controllers ? strchr(controllers + 1, ':') : NULL;
		if (!at)
			continue;
		*at = '\0';
		if (tree->v2 ? strcmp(controllers, ":") != 0 : !list_has(controllers + 1, "pids"))
			continue;
		snprintf(path, PATH_MAX, "%s", at + 1);
		return 0;
	}
	return -ENOENT;
}

int cgtree_find(struct cgtree *ret_tree)
{
	struct cgtree tree = { 0 };
	char root[PATH_MAX], path[PATH_MAX];
	const char *below = path;
	size_t len;
	int err;

	err = find_mount(&tree, root);
	if (err < 0)
		return err;
	err = find_self(&tree, path);
	if (err < 0)
		return err;
	/* A container may see only a part of the hierarchy, or its paths relative to its own part
	 * ("/.."): the mount's top is then the only place known to exist. */
	len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (len > 0 && strncmp(path, root, len) == 0)
		below = path + len;
	if (strstr(below, "/..") ||
	    snprintf(tree.self, sizeof(tree.self), "%s%s", tree.mount,
		     strcmp(below, "/") == 0 ? "" : below) >= (int)sizeof(tree.self) ||
	    access(tree.self, X_OK) < 0)
		memcpy(tree.self, tree.mount, sizeof(tree.self));
	*ret_tree = tree;
	return 0;
}

int cgtree_write(const char *dir, const char *file, const char *value)
{
	clean_close int fd = -1;
	char path[PATH_MAX];

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		return -errno;
	return 0;
}

int cgtree_read_u64(const char *dir, const char *file, uint64_t *ret_value)
{
	char path[PATH_MAX], data[32];
	int len;

	if (snprintf(path, sizeof(path), "%s/%s", dir, file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	len = read_small_file(AT_FDCWD, path, data, sizeof(data));
	if (len < 0)
		return len;
	data[strcspn(data, "\n")] = '\0';
	if (strcmp(data, "max") == 0) {
		*ret_value = UINT64_MAX;
		return 0;
	}
	return parse_u64(data, ret_value);
}

int cgtree_make(const struct cgtree *tree, const char *dir)
{
	size_t start = strlen(tree->mount);
	char path[PATH_MAX];

	if (strncmp(dir, tree->mount, start) != 0 || dir[start] != '/' || strstr(dir, "/../"))
		return -EINVAL;
	if (snprintf(path, sizeof(path), "%s", dir) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	for (char *at = path + start; at; at = strchr(at + 1, '/')) {
		char cut = *at;

		*at = '\0';
		if (at > path + start && mkdir(path, 0755) < 0 && errno != EEXIST)
			return -errno;
		if (tree->v2) {
			int err = cgtree_write(path, "cgroup.subtree_control", "+pids");

			if (err < 0)
				return err;
		}
		*at = cut;
	}
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	return 0;
}

int cgtree_enter(const char *dir)
{
	return cgtree_write(dir, "cgroup.procs", "0");
}

/* Sends @signal to each process but the caller in the directory. How many there were. */
static int signal_procs(int dirfd, int signal)
{
	clean_close int fd = openat(dirfd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	clean_file FILE *file = NULL;
	char line[32];
	int n = 0;

	if (fd < 0)
		return 0;
	file = fdopen(fd, "r");
	if (!file)
		return 0;
	steal_fd(&fd);
	while (fgets(line, sizeof(line), file)) {
		uint64_t tgid;

		line[strcspn(line, "\n")] = '\0';
		/* 0: a process of another PID namespace, which cannot be signalled from here. */
		if (parse_u64(line, &tgid) < 0 || tgid <= 1 || tgid > INT_MAX ||
		    (pid_t)tgid == getpid())
			continue;
		kill((pid_t)tgid, signal);
		n++;
	}
	return n;
}

int cgtree_ask_to_end(const char *dir)
{
	clean_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : signal_procs(fd, SIGTERM);
}

/* Takes @fd over. */
static int empty_pass(int fd, int depth)
{
	clean_dir DIR *dir = fdopendir(fd);
	const struct dirent *entry;
	int result = 0;

	if (!dir) {
		int err = -errno;

		close(fd);
		return err;
	}
	signal_procs(fd, SIGKILL);
	while ((entry = readdir(dir))) {
		int child, err;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (child < 0)
			continue; /* gone meanwhile */
		if (depth == DEPTH_MAX) {
			close(child);
			return -ELOOP;
		}
		err = empty_pass(child, depth + 1);
		if (err == 0 && unlinkat(fd, entry->d_name, AT_REMOVEDIR) < 0 && errno != ENOENT)
			err = -errno;
		if (err < 0 && (result == 0 || result == -EBUSY))
			result = err;
	}
	return result;
}

int cgtree_remove_pass(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	err = empty_pass(fd, 0);
	if (err == 0 && rmdir(dir) < 0 && errno != ENOENT)
		err = -errno;
	return err;
}

int cgtree_remove(const char *dir, int64_t timeout_ms, bool reap)
{
	int64_t end_ms = clock_mono_ms() + timeout_ms;

	/* v2 kills all of it at once, also what forks meanwhile; elsewhere the file is missing. */
	cgtree_write(dir, "cgroup.kill", "1");
	for (;;) {
		int err = cgtree_remove_pass(dir);

		if (err != -EBUSY)
			return err;
		if (clock_mono_ms() >= end_ms)
			return -ETIMEDOUT;
		while (reap && waitpid(-1, NULL, WNOHANG) > 0)
			;
		usleep(REMOVE_PAUSE_US);
	}
}
