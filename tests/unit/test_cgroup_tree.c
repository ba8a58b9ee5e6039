// SPDX-License-Identifier: Apache-2.0
/*
 * The tree reader on directories made by the test: an ordinary file system with files named as the
 * kernel names them. What the tree says is compared with what the test wrote, and once with find(1)'s
 * view of the machine's own hierarchy.
 */
#include "temp_dir.h"

#include <errno.h>
#include <string.h>

#include "core/limits.h"
#include "read/cgroup_mount.h"
#include "read/cgroup_tree.h"
#include "read/node_facts.h"

#define POD "kubepods/burstable/pod4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b"
#define ID "1f9ab8dcb7ee5b7b1b0fa9d3f0a6c2d4e8f01234567890abcdef1234567890ab"

/* A directory as the pids controller fills it; -1: no file (hierarchy root). */
static void make(const char *path, long current, const char *max)
{
	char full[512], file[600], number[32];

	snprintf(full, sizeof(full), "%s/%s", temp_dir, path);
	assert_true(mkdir(full, 0755) == 0 || errno == EEXIST);
	if (current < 0)
		return;
	snprintf(number, sizeof(number), "%ld\n", current);
	snprintf(file, sizeof(file), "%s/pids.current", path);
	temp_dir_put(file, number);
	snprintf(file, sizeof(file), "%s/pids.max", path);
	temp_dir_put(file, max);
}

static void assert_drop(const char *path)
{
	assert_int_equal(temp_dir_drop(path), 0);
}

static const struct cgroup_entry *find(const struct cgroup_tree *tree, const char *path)
{
	const struct cgroup_entry *entries;
	char at[512];
	size_t n;

	entries = cgroup_tree_entries(tree, &n);
	for (size_t i = 0; i < n; i++) {
		if (entries[i].id == 0)
			continue;
		cgroup_tree_path(tree, (uint32_t)i, at, sizeof(at));
		if (strcmp(at, path) == 0)
			return &entries[i];
	}
	return NULL;
}

static void make_pod(void)
{
	make("", -1, NULL);
	make("kubepods", 12, "31768\n");
	make("kubepods/burstable", 12, "max\n");
	make(POD, 12, "100\n");
	make(POD "/" ID, 11, "max\n");
	make("system.slice", 3, "max\n");
}

static void test_life(void **state)
{
	const struct cgroup_entry *entry;
	struct cgroup_tree_stats stats;
	struct cgroup_tree *tree;
	struct stat st;
	char path[512];

	(void)state;
	make_pod();
	assert_int_equal(cgroup_tree_new(temp_dir, 1000, 1000, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	entry = find(tree, "/" POD);
	assert_non_null(entry);
	assert_int_equal(entry->kind, CGROUP_POD);
	assert_int_equal(entry->current, 12);
	assert_int_equal(entry->max, 100);
	snprintf(path, sizeof(path), "%s/" POD, temp_dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(entry->id, st.st_ino);
	assert_ptr_equal(entry, &cgroup_tree_entries(
					tree, &(size_t){ 0 })[cgroup_tree_find(tree, st.st_ino)]);
	assert_int_equal(find(tree, "/kubepods")->max, 31768);
	assert_true(find(tree, "/kubepods/burstable")->max == LIMIT_NONE);
	assert_int_equal(find(tree, "/" POD "/" ID)->kind, CGROUP_CONTAINER);
	assert_false(find(tree, "/")->has_pids);

	/* The steady state lists nothing. */
	cgroup_tree_stats(tree, &stats);
	assert_int_equal(cgroup_tree_refresh(tree, 2000), 0);
	struct cgroup_tree_stats later;

	cgroup_tree_stats(tree, &later);
	assert_int_equal(later.scans, stats.scans);

	/* New counts through the kept-open file, a new limit, a new nested cgroup. */
	temp_dir_put(POD "/pids.current", "40\n");
	temp_dir_put("kubepods/pids.max", "500\n");
	make(POD "/" ID "/nested", 5, "max\n");
	assert_int_equal(cgroup_tree_refresh(tree, 3000), 0);
	assert_int_equal(find(tree, "/" POD)->current, 40);
	assert_int_equal(find(tree, "/kubepods")->max, 500);
	assert_int_equal(find(tree, "/" POD "/" ID "/nested")->kind, CGROUP_NESTED);
	assert_int_equal(find(tree, "/" POD "/" ID "/nested")->first_seen_ms, 3000);

	/* Gone with all below it; made again under the same name it is another one. */
	assert_drop(POD);
	assert_int_equal(cgroup_tree_refresh(tree, 4000), 0);
	assert_null(find(tree, "/" POD));
	assert_null(find(tree, "/" POD "/" ID "/nested"));
	make(POD, 7, "100\n");
	assert_int_equal(cgroup_tree_refresh(tree, 5000), 0);
	assert_int_equal(find(tree, "/" POD)->current, 7);
	assert_int_equal(find(tree, "/" POD)->first_seen_ms, 5000);
	cgroup_tree_stats(tree, &stats);
	assert_int_equal(stats.entries, 5);
	cgroup_tree_free(tree);
}

/* Removed and made again between two passes: one name, another inode. */
static void test_same_name(void **state)
{
	struct cgroup_tree *tree;
	uint64_t id;

	(void)state;
	make_pod();
	assert_int_equal(cgroup_tree_new(temp_dir, 1000, 1000, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	id = find(tree, "/" POD)->id;
	make(POD "2", 1, "max\n"); /* takes the inode number that assert_drop() would free */
	assert_drop(POD);
	make(POD "3", 1, "max\n");
	make(POD, 9, "max\n");
	assert_int_equal(cgroup_tree_refresh(tree, 2000), 0);
	assert_int_equal(find(tree, "/" POD)->current, 9);
	if (find(tree, "/" POD)->id != id)
		assert_int_equal(find(tree, "/" POD)->first_seen_ms, 2000);
	cgroup_tree_free(tree);
}

/* Few files allowed, many cgroups: opened for each read, and the figures are the same. */
static void test_few_fds(void **state)
{
	struct cgroup_tree_stats stats;
	struct cgroup_tree *tree;

	(void)state;
	make_pod();
	assert_int_equal(cgroup_tree_new(temp_dir, 1000, 2, &tree), 0);
	for (int i = 1; i < 4; i++)
		assert_int_equal(cgroup_tree_refresh(tree, i * 1000), 0);
	cgroup_tree_stats(tree, &stats);
	assert_int_equal(stats.fds, 2);
	assert_int_equal(find(tree, "/" POD)->current, 12);
	assert_int_equal(find(tree, "/" POD "/" ID)->current, 11);
	assert_int_equal(find(tree, "/system.slice")->current, 3);
	assert_drop(POD);
	assert_int_equal(cgroup_tree_refresh(tree, 9000), 0);
	assert_null(find(tree, "/" POD));
	cgroup_tree_free(tree);
}

/* A build that nests without end, in width and in depth, costs what was allowed and no row of others. */
static void test_bounded(void **state)
{
	struct cgroup_tree_stats stats;
	struct cgroup_tree *tree;
	char path[4000];

	(void)state;
	make_pod();
	for (int i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), POD "/" ID "/n%d", i);
		make(path, -1, NULL);
	}
	assert_int_equal(cgroup_tree_new(temp_dir, 100, 1000, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	make("kubepods/burstable/podlate", 6, "max\n");
	assert_int_equal(cgroup_tree_refresh(tree, 2000), 0);
	cgroup_tree_stats(tree, &stats);
	assert_true(stats.entries <= 100);
	assert_int_equal(find(tree, "/kubepods/burstable/podlate")->current, 6);
	cgroup_tree_free(tree);

	snprintf(path, sizeof(path), POD "/" ID);
	while (strlen(path) < 380) {
		strcat(path, "/deep");
		make(path, -1, NULL);
	}
	assert_int_equal(cgroup_tree_new(temp_dir, 10000, 1000, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	assert_non_null(find(tree, "/" POD));
	assert_drop(POD "/" ID);
	assert_int_equal(cgroup_tree_refresh(tree, 2000), 0);
	cgroup_tree_stats(tree, &stats);
	assert_int_equal(stats.entries, 6);
	cgroup_tree_free(tree);
}

/* v2: a directory made before "+pids" was written above it gets its files later. */
static void test_late_files(void **state)
{
	struct cgroup_tree *tree;

	(void)state;
	make_pod();
	make("kubepods/podlate", -1, NULL);
	make("late.slice", -1, NULL);
	assert_int_equal(cgroup_tree_new(temp_dir, 1000, 1000, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	assert_false(find(tree, "/kubepods/podlate")->has_pids);
	make("kubepods/podlate", 8, "50\n");
	make("late.slice", 3, "max\n");
	assert_int_equal(cgroup_tree_refresh(tree, 2000), 0);
	assert_int_equal(find(tree, "/kubepods/podlate")->current, 8);
	assert_int_equal(find(tree, "/kubepods/podlate")->max, 50);
	/* What is no pod's is looked for in turns. */
	for (int i = 0; i < 10; i++)
		assert_int_equal(cgroup_tree_refresh(tree, 3000 + i), 0);
	assert_int_equal(find(tree, "/late.slice")->current, 3);
	cgroup_tree_free(tree);
}

static void test_root_gone(void **state)
{
	struct cgroup_tree *tree;

	(void)state;
	assert_int_equal(cgroup_tree_new("/nonexistent/cgroup", 10, 10, &tree), -ENOENT);
}

static void test_mounts(void **state)
{
	static const struct {
		const char *mountinfo;
		int err;
		enum cgroup_mode mode;
		const char *path; /* relative to the temporary directory */
	} cases[] = {
		{ "30 23 0:26 / @/cg ro shared:9 - tmpfs tmpfs ro\n"
		  "31 30 0:27 / @/cg/unified rw shared:10 - cgroup2 cgroup2 rw,nsdelegate\n"
		  "32 30 0:28 / @/cg/cpu\\040x rw - cgroup cgroup rw,cpu,cpuacct\n"
		  "33 30 0:29 / @/cg/pids rw shared:12 - cgroup cgroup rw,pids\n",
		  0, CGROUP_MODE_HYBRID, "cg/pids" },
		{ "33 30 0:29 / @/cg/with\\040space rw - cgroup cgroup rw,cpu,pids\n", 0,
		  CGROUP_MODE_V1, "cg/with space" },
		{ "31 30 0:27 / @/v2 rw,nosuid - cgroup2 cgroup2 rw\n", 0, CGROUP_MODE_V2, "v2" },
		{ "31 30 0:27 / @/cg/unified rw - cgroup2 cgroup2 rw\n", -ENOENT, 0, NULL },
		{ "garbage\n\n36 35 - x\n", -ENOENT, 0, NULL },
	};

	(void)state;
	make("", -1, NULL);
	make("v2", -1, NULL);
	make("cg", -1, NULL);
	make("cg/unified", -1, NULL);
	make("self", -1, NULL);
	temp_dir_put("v2/cgroup.controllers", "cpuset cpu io memory hugetlb pids rdma\n");
	temp_dir_put("cg/unified/cgroup.controllers", "\n");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[2048] = "", expected[600];
		struct cgroup_mount mount;

		for (const char *c = cases[i].mountinfo; *c != '\0'; c++) {
			size_t len = strlen(text);

			if (*c == '@')
				snprintf(text + len, sizeof(text) - len, "%s", temp_dir);
			else
				snprintf(text + len, sizeof(text) - len, "%c", *c);
		}
		temp_dir_put("self/mountinfo", text);
		assert_int_equal(cgroup_mount_find(temp_dir, NULL, &mount), cases[i].err);
		if (cases[i].err < 0)
			continue;
		snprintf(expected, sizeof(expected), "%s/%s", temp_dir, cases[i].path);
		assert_string_equal(mount.path, expected);
		assert_int_equal(mount.mode, cases[i].mode);
	}

	/* --cgroup-root: judged by what is there */
	struct cgroup_mount mount;
	char below[128];

	snprintf(below, sizeof(below), "%s/v2", temp_dir);
	assert_int_equal(cgroup_mount_find(temp_dir, below, &mount), 0);
	assert_int_equal(mount.mode, CGROUP_MODE_V2);
	snprintf(below, sizeof(below), "%s/cg", temp_dir);
	assert_int_equal(cgroup_mount_find(temp_dir, below, &mount), -ENOENT);
	make("cg/pids", -1, NULL);
	assert_int_equal(cgroup_mount_find(temp_dir, below, &mount), 0);
	assert_int_equal(mount.mode, CGROUP_MODE_HYBRID);
	/* the v1 hierarchy itself */
	temp_dir_put("cg/pids/tasks", "1\n");
	strcat(below, "/pids");
	assert_int_equal(cgroup_mount_find(temp_dir, below, &mount), 0);
	assert_int_equal(mount.mode, CGROUP_MODE_V1);
	assert_string_equal(mount.path, below);
}

static void test_node_facts(void **state)
{
	struct node_facts facts = { 0 };

	(void)state;
	make("", -1, NULL);
	make("sys", -1, NULL);
	make("sys/kernel", -1, NULL);
	assert_int_equal(node_facts_read(temp_dir, &facts), -ENOENT);
	temp_dir_put("sys/kernel/pid_max", "32768\n");
	temp_dir_put("sys/kernel/threads-max", "192731\n");
	temp_dir_put("loadavg", "0.09 0.06 0.02 1/78 2333\n");
	assert_int_equal(node_facts_read(temp_dir, &facts), 0);
	assert_int_equal(facts.pid_max, 32768);
	assert_int_equal(facts.threads_max, 192731);
	assert_int_equal(facts.tasks, 78);
	temp_dir_put("loadavg", "0.09 0.06 0.02 1 2333\n");
	assert_int_equal(node_facts_read(temp_dir, &facts), -EINVAL);
	temp_dir_put("loadavg", "0.09 0.06 0.02 1/78 2333\n");
	temp_dir_put("sys/kernel/pid_max", "-1\n");
	assert_int_equal(node_facts_read(temp_dir, &facts), -EINVAL);
	/* The machine's own. */
	assert_int_equal(node_facts_read("/proc", &facts), 0);
	assert_true(facts.tasks > 0 && facts.tasks < facts.pid_max);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_same_name, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_few_fds, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_bounded, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_late_files, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test(test_root_gone),
		cmocka_unit_test_setup_teardown(test_mounts, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_node_facts, temp_dir_setup, temp_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
