// SPDX-License-Identifier: Apache-2.0
#include "core/pod_table.h"

#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "kubelet_fixture.h"

static const char *text_of(const cJSON *object, const char *key)
{
	return cJSON_GetStringValue(cJSON_GetObjectItem(object, key));
}

/*
 * The container runtime's own list is the witness: every container and sandbox in it is found with
 * the pod and name that the runtime gives it.
 */
static void test_recorded_join(void **state)
{
	static const struct {
		const char *pods;
		const char *map;
		size_t containers, sandboxes; /* found */
		size_t gone; /* pod no longer in the API when the list was made */
		size_t older; /* the pod's container has been restarted since */
	} cases[] = {
		{ "kubelet-1.20/kubelet-jobs-pods.json", "kubelet-1.20/cri-jobs-map.json", 33, 30,
		  0, 0 },
		/* This map is some minutes younger than the list. */
		{ "kubelet-1.20/kubelet-after-pods.json", "kubelet-1.20/cri-podpidslimit-map.json",
		  38, 36, 3, 1 },
		{ "kubelet-1.36/kubelet-jobs-pods.json", "kubelet-1.36/cri-jobs-map.json", 26, 26,
		  9, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		size_t len, containers = 0, sandboxes = 0, gone = 0, older = 0;
		struct pod_table *table = fixture_table(cases[i].pods);
		char *text = fixture_load(cases[i].map, &len);
		cJSON *map = cJSON_ParseWithLength(text, len);
		const cJSON *entry;

		assert_int_equal(pod_table_seal(table), 0);
		assert_true(cJSON_IsArray(map));
		cJSON_ArrayForEach(entry, map) {
			const struct pod_entry *pod =
				pod_table_find(table, text_of(entry, "pod_uid"));
			const struct pod_entry *by_id = NULL;
			const struct pod_container *container;

			if (!pod) {
				gone++;
				continue;
			}
			assert_string_equal(pod->pod.namespace, text_of(entry, "namespace"));
			assert_string_equal(pod->pod.name, text_of(entry, "pod"));
			container = pod_table_find_container(table, text_of(entry, "id"), &by_id);
			if (strcmp(text_of(entry, "kind"), "sandbox") == 0) {
				assert_null(container);
				sandboxes++;
				continue;
			}
			if (!container) {
				older++;
				continue;
			}
			assert_ptr_equal(by_id, pod);
			assert_string_equal(container->name, text_of(entry, "container"));
			containers++;
		}
		assert_int_equal(containers, cases[i].containers);
		assert_int_equal(sandboxes, cases[i].sandboxes);
		assert_int_equal(gone, cases[i].gone);
		assert_int_equal(older, cases[i].older);
		cJSON_Delete(map);
		free(text);
		pod_table_free(table);
	}
}

/* Every pod directory of the recorded cgroup tree is found; what it holds is a container of that
 * pod, or the one sandbox. */
static void test_recorded_tree(void **state)
{
	static const struct {
		const char *pods;
		const char *tree;
		size_t dirs; /* grep -c '/pod[^/]*<tab>' */
	} cases[] = {
		{ "kubelet-1.20/kubelet-jobs-pods.json", "kubelet-1.20/cgroup-jobs-pids-tree.txt",
		  29 },
		{ "kubelet-1.36/kubelet-jobs-pods.json", "kubelet-1.36/cgroup-jobs-pids-tree.txt",
		  18 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pod_table *table = fixture_table(cases[i].pods);
		const struct pod_entry *pod = NULL, *by_id;
		size_t len, dirs = 0, sandboxes = 0;
		char *text = fixture_load(cases[i].tree, &len), *rest, *line;

		assert_int_equal(pod_table_seal(table), 0);
		for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
			char *name;

			line[strcspn(line, "\t")] = '\0';
			name = strrchr(line, '/');
			if (*line == '#' || !name)
				continue;
			name++;
			if (strncmp(name, "pod", 3) == 0) {
				assert_int_equal(sandboxes, dirs);
				pod = pod_table_find(table, name + 3);
				if (!pod)
					fail_msg("%s", line);
				dirs++;
			} else if (strlen(name) == 64) {
				if (pod_table_find_container(table, name, &by_id))
					assert_ptr_equal(by_id, pod);
				else
					sandboxes++;
			}
		}
		assert_int_equal(dirs, cases[i].dirs);
		assert_int_equal(sandboxes, dirs);
		free(text);
		pod_table_free(table);
	}
}

static void add(struct pod_table *table, const char *uid, const char *cgroup_uid, const char *id)
{
	struct pod_container container = { .name = "c" };
	struct pod_identity pod = { .namespace = "ns", .n_containers = 1 };

	snprintf(pod.uid, sizeof(pod.uid), "%s", uid);
	snprintf(pod.cgroup_uid, sizeof(pod.cgroup_uid), "%s", cgroup_uid);
	snprintf(pod.name, sizeof(pod.name), "p-%s", uid);
	snprintf(container.id, sizeof(container.id), "%s", id);
	assert_int_equal(pod_table_add(table, &pod, &container), 0);
}

/* Pods "a" .. "z", one letter each, containers "<letter>1". */
static struct pod_table *letters(const char *which)
{
	struct pod_table *table;

	assert_int_equal(pod_table_new(&table), 0);
	for (; *which != '\0'; which++) {
		const char uid[] = { *which, '\0' }, id[] = { *which, '1', '\0' };

		add(table, uid, uid, id);
	}
	return table;
}

static bool letter_alive(const char *cgroup_uid, void *data)
{
	return strstr(data, cgroup_uid) != NULL;
}

static void test_swap(void **state)
{
	static const struct {
		const char *old; /* NULL: no table yet */
		const char *next;
		const char *alive;
		int err;
		const char *after; /* upper case: kept */
	} cases[] = {
		{ NULL, "abc", "abc", 0, "abc" },
		{ NULL, "", "", 0, "" },
		{ "abc", "", "", 0, "" },
		{ "abc", "ab", "ab", 0, "ab" },
		{ "abc", "ab", "abc", 0, "abC" },
		{ "abc", "d", "abcd", 0, "ABCd" }, /* misses three: too few to doubt the list */
		/* A kubelet that has just started. */
		{ "abc", "", "abc", -EAGAIN, "abc" },
		{ "abc", "", "z", -EAGAIN, "abc" },
		{ NULL, "", "z", -EAGAIN, "" },
		{ "abcdefgh", "ab", "abcdefgh", -EAGAIN, "abCDEFGH" },
		{ "abcdefgh", "abi", "abcdefgh", -EAGAIN, "abCDEFGHi" },
		/* Half of them is enough. */
		{ "abcdefghij", "abcde", "abcdefghij", 0, "abcdeFGHIJ" },
		/* Finished pods in the list do not count as seen. */
		{ "abcdefgh", "uvwxyz", "abcdefgh", -EAGAIN, "ABCDEFGHuvwxyz" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pod_liveness live = { letter_alive, (void *)(uintptr_t)cases[i].alive,
					     strlen(cases[i].alive) };
		struct pod_table *table = cases[i].old ? letters(cases[i].old) : NULL;
		struct pod_table *next = letters(cases[i].next);
		struct pod_table_swap swap;
		char after[32] = "";

		if (table)
			assert_int_equal(pod_table_seal(table), 0);
		assert_int_equal(pod_table_swap(&table, next, &live, &swap), cases[i].err);
		assert_int_equal(swap.listed, strlen(cases[i].next));
		for (size_t j = 0; j < pod_table_count(table); j++) {
			const struct pod_entry *entry = pod_table_at(table, j), *by_id;
			char id[3] = { entry->pod.uid[0], '1', '\0' };

			after[j] = (char)(entry->kept ? entry->pod.uid[0] - 32 : entry->pod.uid[0]);
			assert_non_null(pod_table_find_container(table, id, &by_id));
			assert_ptr_equal(by_id, entry);
			assert_ptr_equal(pod_table_find(table, entry->pod.uid), entry);
		}
		assert_string_equal(after, cases[i].after);
		pod_table_free(table);
	}
}

/* What was kept once is kept again, and goes with its cgroup. */
static void test_kept_twice(void **state)
{
	char alive[] = "abc";
	struct pod_liveness live = { letter_alive, alive, 3 };
	struct pod_table *table = letters("abc");
	struct pod_table_swap swap;

	(void)state;
	assert_int_equal(pod_table_seal(table), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pod_table_swap(&table, letters("ab"), &live, &swap), 0);
		assert_int_equal(swap.kept, 1);
		assert_true(pod_table_find(table, "c")->kept);
	}
	assert_int_equal(pod_table_swap(&table, letters("abc"), &live, &swap), 0);
	assert_false(pod_table_find(table, "c")->kept);
	alive[2] = '\0';
	live.n_alive = 2;
	assert_int_equal(pod_table_swap(&table, letters("ab"), &live, &swap), 0);
	assert_null(pod_table_find(table, "c"));
	/* No look at the kernel: the list is taken as it is. */
	assert_int_equal(pod_table_swap(&table, letters("b"), NULL, &swap), 0);
	assert_int_equal(pod_table_count(table), 1);
	pod_table_free(table);
}

static void test_claims(void **state)
{
	const struct pod_entry *pod;
	struct pod_table *table;

	(void)state;
	assert_int_equal(pod_table_new(&table), 0);
	add(table, "liar", "victim", "l1");
	add(table, "victim", "victim", "v1");
	add(table, "liar2", "victim", "l2");
	assert_int_equal(pod_table_seal(table), 0);
	assert_int_equal(pod_table_count(table), 1);
	assert_string_equal(pod_table_find(table, "victim")->pod.uid, "victim");
	assert_null(pod_table_find_container(table, "l1", NULL));
	assert_non_null(pod_table_find_container(table, "v1", &pod));
	/* Containers without an id yet are found by nobody. */
	assert_null(pod_table_find_container(table, "", NULL));
	assert_null(pod_table_find(NULL, "victim"));
	assert_null(pod_table_find_container(NULL, "v1", NULL));
	pod_table_free(table);
}

/* A list that fills the table pushes nobody out who is alive. */
static void test_full_list(void **state)
{
	static struct pod_container containers[POD_CONTAINERS_MAX];
	char alive[] = "abc";
	struct pod_liveness live = { letter_alive, alive, 3 };
	struct pod_table *table = letters("abc"), *next;
	struct pod_identity pod = { .n_containers = POD_CONTAINERS_MAX };
	struct pod_table_swap swap;
	size_t n = 0;

	(void)state;
	assert_int_equal(pod_table_seal(table), 0);
	assert_int_equal(pod_table_new(&next), 0);
	do {
		snprintf(pod.cgroup_uid, sizeof(pod.cgroup_uid), "full-%zu", n++);
	} while (pod_table_add(next, &pod, containers) == 0);
	assert_int_equal(pod_table_swap(&table, next, &live, &swap), 0);
	assert_int_equal(swap.kept, 3);
	assert_non_null(pod_table_find(table, "c"));
	pod_table_free(table);
}

static void test_caps(void **state)
{
	static struct pod_container containers[POD_CONTAINERS_MAX + 1];
	struct pod_identity pod = { .n_containers = POD_CONTAINERS_MAX };
	struct pod_table *table;
	size_t n;

	(void)state;
	assert_int_equal(pod_table_new(&table), 0);
	for (n = 0; pod_table_add(table, &pod, containers) == 0; n++)
		snprintf(pod.cgroup_uid, sizeof(pod.cgroup_uid), "%zu", n);
	assert_int_equal(n, POD_TABLE_CONTAINERS_MAX / POD_CONTAINERS_MAX);
	pod.n_containers = 0;
	for (; pod_table_add(table, &pod, NULL) == 0; n++)
		snprintf(pod.cgroup_uid, sizeof(pod.cgroup_uid), "%zu", n);
	assert_int_equal(n, POD_TABLE_PODS_MAX);
	assert_int_equal(pod_table_add(table, &pod, NULL), -ENOSPC);
	pod.n_containers = POD_CONTAINERS_MAX + 1;
	assert_int_equal(pod_table_add(table, &pod, containers), -EINVAL);
	pod_table_free(table);
	pod_table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recorded_join), cmocka_unit_test(test_recorded_tree),
		cmocka_unit_test(test_swap),	      cmocka_unit_test(test_kept_twice),
		cmocka_unit_test(test_claims),	      cmocka_unit_test(test_full_list),
		cmocka_unit_test(test_caps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
