/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Help for tests on the live kernel: cgroups of one's own with a pids.max, and storms in them.
 * Refuses: touching any cgroup or process that the test did not make. Other loads may run
 * meanwhile, so a test may judge its own cgroups only.
 */
#ifndef PIDWARDEN_TESTS_BPF_TEST_H
#define PIDWARDEN_TESTS_BPF_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "read/bpf_probe.h"

#define TEST_SKIPPED 77

struct storm {
	pid_t tgid;
	int in, out; /* its standard input and output */
	unsigned long processes, threads, execs; /* after storm_end() */
};

/* What a failed test leaves behind is put away at exit. */
#define TEST_LEFT_MAX 1024
static struct {
	char *dirs[TEST_LEFT_MAX];
	size_t n_dirs;
	pid_t storms[8];
} test_left;

static char pids_root[PATH_MAX]; /* directory under which cgroups with pids.max can be made */
static char
	unified_root[PATH_MAX]; /* the v2 hierarchy, with or without pids; "" if there is none */
static bool pids_on_v2;

static inline int test_open(const char *dir, const char *file, int flags)
{
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int fd = dir_fd < 0 ? -1 : openat(dir_fd, file, flags | O_CLOEXEC);
	int err = -errno;

	if (dir_fd >= 0)
		close(dir_fd);
	return fd < 0 ? err : fd;
}

static inline int test_write(const char *dir, const char *file, const char *text)
{
	int fd = test_open(dir, file, O_WRONLY);
	int err = 0;

	if (fd < 0)
		return fd;
	if (write(fd, text, strlen(text)) < 0)
		err = -errno;
	close(fd);
	return err;
}

static inline uint64_t test_read_u64(const char *dir, const char *file)
{
	char text[32] = "";
	int fd = test_open(dir, file, O_RDONLY);
	ssize_t len;

	assert_true(fd >= 0);
	len = read(fd, text, sizeof(text) - 1);
	close(fd);
	assert_true(len > 0);
	return strtoull(text, NULL, 10);
}

static inline void test_find_mounts(void)
{
	char line[1024], where[PATH_MAX], type[64], options[512];
	FILE *mounts = fopen("/proc/self/mounts", "re");

	while (mounts && fgets(line, sizeof(line), mounts)) {
		if (sscanf(line, "%*s %4095s %63s %511s", where, type, options) != 3)
			continue;
		if (strcmp(type, "cgroup") == 0 && strstr(options, "pids"))
			snprintf(pids_root, sizeof(pids_root), "%s", where);
		else if (strcmp(type, "cgroup2") == 0 && unified_root[0] == '\0')
			snprintf(unified_root, sizeof(unified_root), "%s", where);
	}
	if (mounts)
		fclose(mounts);
	if (pids_root[0] == '\0' && unified_root[0] != '\0') {
		test_write(unified_root, "cgroup.subtree_control", "+pids");
		memcpy(pids_root, unified_root, sizeof(pids_root));
		pids_on_v2 = true;
	}
}

static inline void test_clean_up(void)
{
	size_t i;

	for (i = 0; i < sizeof(test_left.storms) / sizeof(test_left.storms[0]); i++) {
		if (test_left.storms[i] > 0) {
			kill(test_left.storms[i], SIGKILL);
			waitpid(test_left.storms[i], NULL, 0);
		}
	}
	/* Children before parents. Their tasks are dying with the storm that made them. */
	for (i = test_left.n_dirs; i-- > 0;) {
		int tries;

		for (tries = 0; rmdir(test_left.dirs[i]) < 0 && errno == EBUSY && tries < 200;
		     tries++)
			usleep(1000);
		free(test_left.dirs[i]);
	}
}

static inline void test_left_dir(const char *dir)
{
	if (test_left.n_dirs == TEST_LEFT_MAX)
		return;
	test_left.dirs[test_left.n_dirs] = strdup(dir);
	if (test_left.dirs[test_left.n_dirs])
		test_left.n_dirs++;
}

static inline void test_left_storm(pid_t from, pid_t to)
{
	size_t i;

	for (i = 0; i < sizeof(test_left.storms) / sizeof(test_left.storms[0]); i++) {
		if (test_left.storms[i] == from) {
			test_left.storms[i] = to;
			return;
		}
	}
}

/* 0, or what main() has to return: 77, and 1 where a skip is a failure. Says why. */
static inline int test_skip(const char *why)
{
	const char *ci = getenv("CI");
	bool fails = ci && strcmp(ci, "true") == 0;

	printf("%s: %s\n", fails ? "FAILED (CI=true, nothing may be skipped)" : "SKIPPED", why);
	return fails ? 1 : TEST_SKIPPED;
}

/* On an emulated CPU (tests/vm) fewer rounds must do. */
static inline bool test_slow(void)
{
	return getenv("TEST_SLOW") != NULL;
}

/* Call first in main(). 0: go on. */
static inline int test_need_bpf(void)
{
	struct bpf_probe_error why;
	struct bpf_probe *probe;

	if (geteuid() != 0)
		return test_skip("not root");
	atexit(test_clean_up);
	test_find_mounts();
	if (pids_root[0] == '\0')
		return test_skip("no cgroup hierarchy with the pids controller is mounted");
	if (bpf_probe_new(NULL, &probe, &why)) {
		printf("%s\n%s\n", why.text, why.detail);
		return test_skip("BPF does not load here");
	}
	bpf_probe_free(probe);
	return 0;
}

static inline struct bpf_probe *test_probe(const struct bpf_probe_options *options)
{
	struct bpf_probe_error why;
	struct bpf_probe *probe = NULL;

	if (bpf_probe_new(options, &probe, &why))
		fail_msg("%s (%s)", why.text, why.detail);
	return probe;
}

/* A cgroup of this test; @parent NULL: below the root. @max bounds what a storm in it can do. */
static inline uint64_t test_cgroup_make(const char *parent, const char *name, unsigned int max,
					char *ret_dir)
{
	char text[32];
	struct stat st;
	int n;

	if (parent)
		n = snprintf(ret_dir, PATH_MAX, "%s/%s", parent, name);
	else
		n = snprintf(ret_dir, PATH_MAX, "%s/pidwarden-test-%d-%s", pids_root, getpid(),
			     name);
	assert_true(n < PATH_MAX);
	if (mkdir(ret_dir, 0755) < 0)
		fail_msg("%s: %s", ret_dir, strerror(errno));
	test_left_dir(ret_dir);
	snprintf(text, sizeof(text), "%u", max);
	assert_int_equal(test_write(ret_dir, "pids.max", text), 0);
	assert_int_equal(stat(ret_dir, &st), 0);
	return st.st_ino;
}

/* v2: lets children have a pids controller, too. Nothing on v1. */
static inline void test_cgroup_delegate(const char *dir)
{
	if (pids_on_v2)
		assert_int_equal(test_write(dir, "cgroup.subtree_control", "+pids"), 0);
}

static inline void test_cgroup_remove(const char *dir)
{
	int tries;

	/* A task may be between wait() and leaving its cgroup. */
	for (tries = 0; rmdir(dir) < 0; tries++) {
		if (errno != EBUSY || tries > 1000)
			fail_msg("%s: %s", dir, strerror(errno));
		usleep(1000);
	}
	/* Most often the one made last. */
	if (test_left.n_dirs > 0 && strcmp(test_left.dirs[test_left.n_dirs - 1], dir) == 0)
		free(test_left.dirs[--test_left.n_dirs]);
}

static inline void storm_start(struct storm *storm, const char *cgroup, const char *mode,
			       const char *arg1, const char *arg2)
{
	char path[PATH_MAX], *slash;
	int in[2], out[2];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 16);

	assert_true(len > 0);
	path[len] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, "storm");
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	*storm = (struct storm){ .in = in[1], .out = out[0] };
	storm->tgid = fork();
	assert_true(storm->tgid >= 0);
	if (storm->tgid == 0) {
		if (test_write(cgroup, "cgroup.procs", "0"))
			_exit(126);
		dup2(in[0], STDIN_FILENO);
		dup2(out[1], STDOUT_FILENO);
		execl(path, "storm", mode, arg1, arg2, (char *)NULL);
		_exit(127);
	}
	test_left_storm(0, storm->tgid);
	close(in[0]);
	close(out[1]);
}

/* Waits for "ready" of the modes that hold. */
static inline void storm_wait_ready(struct storm *storm)
{
	char text[6];
	size_t have = 0;

	while (have < sizeof(text)) {
		ssize_t len = read(storm->out, text + have, sizeof(text) - have);

		assert_true(len > 0);
		have += (size_t)len;
	}
	assert_memory_equal(text, "ready\n", 6);
}

static inline void storm_end(struct storm *storm)
{
	char text[128];
	size_t have = 0;
	ssize_t len;
	int status;

	close(storm->in);
	while ((len = read(storm->out, text + have, sizeof(text) - 1 - have)) > 0)
		have += (size_t)len;
	text[have] = '\0';
	close(storm->out);
	assert_int_equal(waitpid(storm->tgid, &status, 0), storm->tgid);
	test_left_storm(storm->tgid, 0);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("storm ended with status %d", status);
	if (sscanf(text, "processes=%lu threads=%lu execs=%lu", &storm->processes, &storm->threads,
		   &storm->execs) != 3)
		fail_msg("storm said \"%s\"", text);
}

static inline void storm_run(struct storm *storm, const char *cgroup, const char *mode,
			     const char *arg1, const char *arg2)
{
	storm_start(storm, cgroup, mode, arg1, arg2);
	storm_end(storm);
}

#endif
