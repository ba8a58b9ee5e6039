// SPDX-License-Identifier: Apache-2.0
/*
 * The join on trees recorded from real nodes: the cgroup directories and counts as the kernel gave
 * them, /pods as the kubelet gave it, and the container runtime's own map of who is who as the truth.
 */
#include "kubelet_fixture.h"
#include "temp_dir.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "core/cgroup_totals.h"
#include "join.h"
#include "read/cgroup_tree.h"

#define PIDS_ROOT "/sys/fs/cgroup/pids"

static void put(const char *dir, const char *file, const char *text)
{
	char path[1024];
	FILE *out;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	out = fopen(path, "we");
	assert_non_null(out);
	fprintf(out, "%s\n", text);
	fclose(out);
}

/* Rebuilds the recorded tree; returns the sum of pids.current over pods as the kernel gave it. */
static unsigned long rebuild(const char *fixture)
{
	char *text, *at, *line;
	unsigned long pods = 0;
	size_t len;

	text = fixture_load(fixture, &len);
	at = text;
	while ((line = strsep(&at, "\n")) != NULL) {
		char *dir = strsep(&line, "\t"), *current = strsep(&line, "\t");
		char *max = strsep(&line, "\t"), full[900];

		if (!max || strncmp(dir, PIDS_ROOT, strlen(PIDS_ROOT)) != 0)
			continue;
		snprintf(full, sizeof(full), "%s%s", temp_dir, dir + strlen(PIDS_ROOT));
		assert_int_equal(mkdir(full, 0755), 0);
		put(full, "pids.current", current);
		put(full, "pids.max", max);
		if (strncmp(strrchr(dir, '/'), "/pod", 4) == 0)
			pods += strtoul(current, NULL, 10);
	}
	free(text);
	return pods;
}

static const char *json_text(const cJSON *object, const char *key)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(object, key));

	return text ? text : "";
}

static const struct container_row *row_of(const struct snapshot *snapshot, const char *id)
{
	for (size_t i = 0; i < snapshot->n_containers; i++) {
		if (strcmp(snapshot->containers[i].id, id) == 0)
			return &snapshot->containers[i];
	}
	return NULL;
}

static void check_recording(const char *version)
{
	char name[128], *text;
	struct snapshot snapshot = { 0 };
	struct cgroup_tree *tree;
	struct pod_table *pods;
	struct join *join;
	unsigned long pod_tasks;
	const cJSON *item;
	size_t len, found = 0;
	cJSON *map;

	snprintf(name, sizeof(name), "%s/cgroup-jobs-pids-tree.txt", version);
	pod_tasks = rebuild(name);
	snprintf(name, sizeof(name), "%s/kubelet-jobs-pods.json", version);
	pods = fixture_table(name);
	assert_int_equal(pod_table_seal(pods), 0);
	assert_int_equal(cgroup_tree_new(temp_dir, 10000, 100, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 5000), 0);
	assert_int_equal(join_new(&join), 0);
	struct join_input input = {
		.tree = tree,
		.pods = pods,
		.now_ms = 5000,
		.wall_ms = 1795191637900,
		.node_tasks = 100000,
	};
	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.node.pod_tasks, pod_tasks);

	snprintf(name, sizeof(name), "%s/cri-jobs-map.json", version);
	text = fixture_load(name, &len);
	map = cJSON_Parse(text);
	assert_non_null(map);
	cJSON_ArrayForEach(item, map) {
		const struct container_row *row = row_of(&snapshot, json_text(item, "id"));
		const struct pod_row *pod;

		if (!row)
			continue; /* ended: no cgroup */
		found++;
		pod = &snapshot.pods[row->pod];
		assert_true(pod->known);
		assert_string_equal(pod->namespace, json_text(item, "namespace"));
		assert_string_equal(pod->name, json_text(item, "pod"));
		if (strcmp(json_text(item, "kind"), "sandbox") == 0) {
			assert_true(row->sandbox);
			assert_string_equal(row->name, "POD");
		} else {
			assert_true(row->known);
			assert_string_equal(row->name, json_text(item, "container"));
		}
		if (strncmp(pod->name, "build-", 6) == 0 && !pod->is_build)
			fail_msg("%s is not recognised as a build", pod->name);
	}
	print_message("%s: %zu containers of %zu pods joined\n", version, found, snapshot.n_pods);
	/* Every container directory that the kernel had is in the runtime's map. */
	assert_int_equal(found, snapshot.n_containers);
	assert_true(found > 30);
	/* Most tasks first; each pod's containers side by side, and their tasks add up to its own. */
	for (size_t i = 0; i < snapshot.n_pods; i++) {
		const struct pod_row *pod = &snapshot.pods[i];
		uint64_t sum = 0;

		if (i > 0)
			assert_true(pod->tasks <= pod[-1].tasks);
		for (size_t j = 0; j < pod->n_containers; j++) {
			assert_int_equal(snapshot.containers[pod->first_container + j].pod, i);
			sum += snapshot.containers[pod->first_container + j].tasks;
		}
		assert_int_equal(sum, pod->tasks);
		assert_true(join_pod_alive(pod->uid, join) == (pod->tasks > 0));
	}
	assert_int_equal(join_pods_unknown(join), 0);
	assert_false(join_pod_alive("00000000-0000-0000-0000-000000000000", join));
	/* Every task once: the pods', and what is left at the root. */
	uint64_t rest = 0;

	for (size_t i = 0; i < snapshot.n_cgroups; i++)
		rest += snapshot.cgroups[i].tasks;
	assert_int_equal(rest + snapshot.node.pod_tasks, 100000);
	cJSON_Delete(map);
	free(text);
	join_free(join);
	cgroup_tree_free(tree);
	pod_table_free(pods);
	snapshot_done(&snapshot);
}

static void test_recorded_1_20(void **state)
{
	(void)state;
	check_recording("kubelet-1.20");
}

static void test_recorded_1_36(void **state)
{
	(void)state;
	check_recording("kubelet-1.36");
}

/* No kubelet: pods by their cgroups' own names, counts all the same. */
static void test_no_kubelet(void **state)
{
	struct snapshot snapshot = { 0 };
	struct cgroup_tree *tree;
	struct join *join;
	unsigned long pod_tasks;

	(void)state;
	pod_tasks = rebuild("kubelet-1.20/cgroup-jobs-pids-tree.txt");
	assert_int_equal(cgroup_tree_new(temp_dir, 10000, 100, &tree), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	assert_int_equal(join_new(&join), 0);
	struct join_input input = { .tree = tree, .now_ms = 61000, .node_tasks = 5000 };

	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.node.pod_tasks, pod_tasks);
	assert_true(join_pods_unknown(join) == join_pods_alive(join));
	for (size_t i = 0; i < snapshot.n_pods; i++) {
		assert_false(snapshot.pods[i].known);
		assert_string_equal(snapshot.pods[i].namespace, "");
		assert_memory_equal(snapshot.pods[i].name, "pod", 3);
		assert_string_equal(snapshot.pods[i].name + 3, snapshot.pods[i].uid);
		assert_int_equal(snapshot.pods[i].age_ms, 60000);
	}
	join_free(join);
	cgroup_tree_free(tree);
	snapshot_done(&snapshot);
}

static uint64_t id_of(const char *path)
{
	char full[900];
	struct stat st;

	snprintf(full, sizeof(full), "%s/%s", temp_dir, path);
	assert_int_equal(stat(full, &st), 0);
	return st.st_ino;
}

static void make(const char *path, const char *current)
{
	char full[900];

	snprintf(full, sizeof(full), "%s/%s", temp_dir, path);
	assert_int_equal(mkdir(full, 0755), 0);
	put(full, "pids.current", current);
	put(full, "pids.max", "max");
}

/* Totals of nested cgroups are their container's, of removed containers their pod's; and a pod's
 * totals never fall. */
static void test_totals(void **state)
{
	struct task_totals ten = { .processes_created = 10, .execs = 1 }, none = { 0 };
	struct snapshot snapshot = { 0 };
	struct cgroup_totals *totals;
	struct cgroup_tree *tree;
	struct join *join;

	(void)state;
	make("kubepods", "9");
	make("kubepods/podab", "9");
	make("kubepods/podab/one", "4");
	make("kubepods/podab/one/nested", "2");
	make("kubepods/podab/two", "5");
	make("service", "3");
	assert_int_equal(cgroup_tree_new(temp_dir, 100, 100, &tree), 0);
	assert_int_equal(join_new(&join), 0);
	assert_int_equal(cgroup_totals_new(100, &totals), 0);
	struct join_input input = { .tree = tree, .totals = totals, .node_tasks = 20 };
	uint64_t pod = id_of("kubepods/podab"), one = id_of("kubepods/podab/one");
	uint64_t nested = id_of("kubepods/podab/one/nested"), two = id_of("kubepods/podab/two");

	cgroup_totals_begin(totals);
	cgroup_totals_live(totals, one, pod, &ten);
	cgroup_totals_live(totals, nested, one, &ten);
	cgroup_totals_live(totals, two, pod, &ten);
	cgroup_totals_live(totals, id_of("service"), id_of(""), &ten);
	cgroup_totals_end(totals);
	assert_int_equal(cgroup_tree_refresh(tree, 0), 0);
	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.n_pods, 1);
	assert_int_equal(snapshot.pods[0].totals.processes_created, 30);
	assert_int_equal(snapshot.pods[0].totals.execs, 3);
	for (size_t i = 0; i < snapshot.n_containers; i++) {
		const struct container_row *row = &snapshot.containers[i];

		assert_int_equal(row->totals.processes_created,
				 strcmp(row->name, "one") == 0 ? 20 : 10);
	}
	assert_int_equal(snapshot.n_cgroups, 2);
	assert_string_equal(snapshot.cgroups[0].path, "/");
	assert_int_equal(snapshot.cgroups[0].tasks, 8);
	assert_string_equal(snapshot.cgroups[1].path, "/service");
	assert_int_equal(snapshot.cgroups[1].totals.processes_created, 10);

	/* "one" goes with what is nested in it: the pod keeps the counts. */
	cgroup_totals_begin(totals);
	cgroup_totals_fold(totals, nested, one, &ten, true);
	cgroup_totals_fold(totals, one, pod, &ten, true);
	cgroup_totals_live(totals, two, pod, &ten);
	cgroup_totals_live(totals, id_of("service"), id_of(""), &ten);
	cgroup_totals_end(totals);
	cgroup_totals_settle(totals);
	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.pods[0].totals.processes_created, 30);

	/* The tree has lost "two" already, the fold has not come yet: not a fall. */
	assert_int_equal(temp_dir_drop("kubepods/podab/two"), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 1000), 0);
	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.pods[0].totals.processes_created, 30);
	cgroup_totals_begin(totals);
	cgroup_totals_fold(totals, two, pod, &ten, true);
	cgroup_totals_fold(totals, two, pod, &none, true);
	cgroup_totals_end(totals);
	cgroup_totals_settle(totals);
	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.pods[0].totals.processes_created, 30);
	join_free(join);
	cgroup_totals_free(totals);
	cgroup_tree_free(tree);
	snapshot_done(&snapshot);
}

/* More cgroups than rows: the largest keep their names, the rest is one sum. */
static void test_folded_rows(void **state)
{
	struct snapshot snapshot = { 0 };
	struct cgroup_tree *tree;
	struct join *join;
	uint64_t sum = 0;

	(void)state;
	for (int i = 0; i < JOIN_CGROUP_ROWS + 50; i++) {
		char name[32], current[16];

		snprintf(name, sizeof(name), "service%d", i);
		snprintf(current, sizeof(current), "%d", i + 1);
		make(name, current);
	}
	assert_int_equal(cgroup_tree_new(temp_dir, 1000, 10, &tree), 0);
	assert_int_equal(join_new(&join), 0);
	assert_int_equal(cgroup_tree_refresh(tree, 0), 0);
	struct join_input input = { .tree = tree, .node_tasks = 40000 };

	snapshot_reset(&snapshot);
	assert_int_equal(join_rows(join, &input, &snapshot), 0);
	assert_int_equal(snapshot.n_cgroups, JOIN_CGROUP_ROWS);
	assert_int_equal(snapshot.cgroups_folded, 51);
	for (size_t i = 0; i < snapshot.n_cgroups; i++)
		sum += snapshot.cgroups[i].tasks;
	assert_int_equal(sum + snapshot.cgroups_folded_tasks, 40000);
	join_free(join);
	cgroup_tree_free(tree);
	snapshot_done(&snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_recorded_1_20, temp_dir_setup,
						temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_recorded_1_36, temp_dir_setup,
						temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_no_kubelet, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_totals, temp_dir_setup, temp_dir_teardown),
		cmocka_unit_test_setup_teardown(test_folded_rows, temp_dir_setup,
						temp_dir_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
