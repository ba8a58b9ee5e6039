// SPDX-License-Identifier: Apache-2.0
#include "core/pod_parse.h"

#include <errno.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "kubelet_fixture.h"

#define META "\"metadata\":{\"uid\":\"u-1\",\"namespace\":\"ns\",\"name\":\"p\""

static int parse(const char *json, struct pod_identity *ret_pod,
		 struct pod_container *ret_containers)
{
	/* Just its bytes: nothing behind them may be read. */
	size_t len = strlen(json);
	char *copy = malloc(len);
	int err;

	assert_non_null(copy);
	memcpy(copy, json, len);
	err = pod_parse(copy, len, builders_default(), ret_pod, ret_containers);
	free(copy);
	return err;
}

static void test_all_fields(void **state)
{
	struct pod_container containers[POD_CONTAINERS_MAX];
	struct pod_identity pod;

	(void)state;
	assert_int_equal(
		parse("{\"metadata\":{\"name\":\"build-a-1\",\"namespace\":\"ci\",\"uid\":\"7aa35853-78a0\","
		      "\"deletionTimestamp\":\"2026-11-20T22:09:44Z\","
		      "\"labels\":{\"type\":\"build-job\",\"x\":\"y\"},"
		      "\"ownerReferences\":[{\"kind\":\"Tenant\",\"name\":\"t\"},"
		      "{\"kind\":\"Job\",\"name\":\"build-a\",\"controller\":true}]},"
		      "\"spec\":{\"nodeName\":\"node-a\",\"containers\":[{\"name\":\"build\"},{\"name\":\"side\"}],"
		      "\"initContainers\":[{\"name\":\"build\"}]},"
		      "\"status\":{\"phase\":\"Running\",\"qosClass\":\"Burstable\","
		      "\"startTime\":\"1970-01-01T00:01:00Z\","
		      "\"containerStatuses\":[{\"name\":\"side\",\"containerID\":\"cri-o://0a\","
		      "\"state\":{\"running\":{}}}],"
		      "\"initContainerStatuses\":[{\"name\":\"build\",\"containerID\":\"docker://0b\","
		      "\"state\":{\"terminated\":{\"exitCode\":0}}}],"
		      "\"ephemeralContainerStatuses\":[{\"name\":\"debug\",\"state\":{\"waiting\":{}}}]}}",
		      &pod, containers),
		0);
	assert_string_equal(pod.uid, "7aa35853-78a0");
	assert_string_equal(pod.cgroup_uid, "7aa35853-78a0");
	assert_string_equal(pod.namespace, "ci");
	assert_string_equal(pod.name, "build-a-1");
	assert_string_equal(pod.node, "node-a");
	assert_string_equal(pod.phase, "Running");
	assert_string_equal(pod.qos_class, "Burstable");
	assert_int_equal(pod.start_wall_ms, 60000);
	assert_true(pod.deleting);
	assert_true(pod.owner_controls);
	assert_string_equal(pod.owner_kind, "Job");
	assert_string_equal(pod.owner_name, "build-a");
	assert_string_equal(pod.builder, "job");
	assert_int_equal(pod.n_containers, 4);
	assert_string_equal(containers[0].name, "build");
	assert_string_equal(containers[0].id, "");
	assert_int_equal(containers[0].type, POD_CONTAINER_MAIN);
	assert_int_equal(containers[0].state, POD_CONTAINER_UNKNOWN);
	assert_string_equal(containers[1].name, "side");
	assert_string_equal(containers[1].id, "0a");
	assert_int_equal(containers[1].state, POD_CONTAINER_RUNNING);
	assert_string_equal(containers[2].name, "build");
	assert_string_equal(containers[2].id, "0b");
	assert_int_equal(containers[2].type, POD_CONTAINER_INIT);
	assert_int_equal(containers[2].state, POD_CONTAINER_TERMINATED);
	assert_string_equal(containers[3].name, "debug");
	assert_int_equal(containers[3].type, POD_CONTAINER_EPHEMERAL);
	assert_int_equal(containers[3].state, POD_CONTAINER_WAITING);
}

/* Every field of every wrong type: absent, never a crash, and the pod itself stays. */
static void test_wrong_types(void **state)
{
	static const char *const wrong[] = { "null",
					     "7",
					     "-1e999",
					     "true",
					     "\"s\"",
					     "\"\"",
					     "[]",
					     "{}",
					     "[[[[]]]]",
					     "[1,null,{},\"x\"]",
					     "{\"name\":[],\"kind\":1,\"state\":0}" };
	static const char *const shapes[] = {
		"{" META ",\"labels\":%s}}",
		"{" META ",\"annotations\":%s}}",
		"{" META ",\"labels\":{\"type\":%s}}}",
		"{" META ",\"annotations\":{\"kubernetes.io/config.hash\":%s}}}",
		"{" META ",\"ownerReferences\":%s}}",
		"{" META ",\"ownerReferences\":[%s]}}",
		"{" META ",\"ownerReferences\":[{\"kind\":%s}]}}",
		"{" META ",\"ownerReferences\":[{\"kind\":\"K\",\"name\":%s,\"controller\":1}]}}",
		"{" META ",\"deletionTimestamp\":%s}}",
		"{" META "},\"spec\":%s}",
		"{" META "},\"spec\":{\"nodeName\":%s}}",
		"{" META "},\"spec\":{\"containers\":%s}}",
		"{" META "},\"spec\":{\"containers\":[{\"name\":%s}]}}",
		"{" META "},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":%s}]}}",
		"{" META "},\"status\":%s}",
		"{" META "},\"status\":{\"phase\":%s}}",
		"{" META "},\"status\":{\"startTime\":%s}}",
		"{" META "},\"status\":{\"containerStatuses\":%s}}",
		"{" META "},\"status\":{\"containerStatuses\":[%s]}}",
		"{" META
		"},\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"containerID\":%s}]}}",
		"{" META "},\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"state\":%s}]}}",
		"{" META
		"},\"status\":{\"containerStatuses\":[{\"name\":\"c\",\"state\":{\"running\":%s}}]}}",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		for (size_t j = 0; j < sizeof(wrong) / sizeof(wrong[0]); j++) {
			struct pod_container containers[POD_CONTAINERS_MAX];
			const char *at = strstr(shapes[i], "%s");
			struct pod_identity pod;
			char json[512];

			snprintf(json, sizeof(json), "%.*s%s%s", (int)(at - shapes[i]), shapes[i],
				 wrong[j], at + 2);
			if (parse(json, &pod, containers) != 0)
				fail_msg("%s", json);
			assert_string_equal(pod.cgroup_uid, "u-1");
			assert_string_equal(pod.name, "p");
			assert_string_equal(pod.builder, "");
			for (size_t k = 0; k < pod.n_containers; k++)
				assert_string_equal(containers[k].id, "");
		}
	}
}

static void test_refused(void **state)
{
	static const struct {
		const char *json;
		int err;
	} cases[] = {
		{ "", -EBADMSG },
		{ "7", -EBADMSG },
		{ "[]", -EBADMSG },
		{ "{\"metadata\":{\"uid\":tru}}", -EBADMSG },
		{ "{}", -EINVAL },
		{ "{\"metadata\":[]}", -EINVAL },
		{ "{\"metadata\":{\"namespace\":\"n\",\"name\":\"p\"}}", -EINVAL },
		{ "{\"metadata\":{\"uid\":7,\"namespace\":\"n\",\"name\":\"p\"}}", -EINVAL },
		{ "{\"metadata\":{\"uid\":\"u\",\"name\":\"p\"}}", -EINVAL },
		{ "{\"metadata\":{\"uid\":\"u\",\"namespace\":\"n\"}}", -EINVAL },
		/* A uid cut to fit would be another pod's. */
		{ "{\"metadata\":{\"uid\":\"0123456789012345678901234567890123456789012345678901234567890123\","
		  "\"namespace\":\"n\",\"name\":\"p\"}}",
		  -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pod_container containers[POD_CONTAINERS_MAX];
		struct pod_identity pod;

		assert_int_equal(parse(cases[i].json, &pod, containers), cases[i].err);
	}
}

static void test_config_hash(void **state)
{
	static const struct {
		const char *source;
		const char *hash;
		const char *cgroup_uid;
	} cases[] = {
		{ "file", "33049ceeea1ab18b87b387440b3647a4", "33049ceeea1ab18b87b387440b3647a4" },
		{ "http", "33049ceeea1ab18b87b387440b3647a4", "33049ceeea1ab18b87b387440b3647a4" },
		/* A pod from the API may not pose as another: by source, by form. */
		{ "api", "33049ceeea1ab18b87b387440b3647a4", "u-1" },
		{ "", "33049ceeea1ab18b87b387440b3647a4", "u-1" },
		{ "file", "952bd12e-6c23-445a-81e6-640c056cc33a", "u-1" },
		{ "file", "33049CEEEA1AB18B87B387440B3647A4", "u-1" },
		{ "file", "", "u-1" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pod_container containers[POD_CONTAINERS_MAX];
		struct pod_identity pod;
		char json[512];

		snprintf(json, sizeof(json),
			 "{" META ",\"annotations\":{\"kubernetes.io/config.source\":\"%s\","
			 "\"kubernetes.io/config.hash\":\"%s\"}}}",
			 cases[i].source, cases[i].hash);
		assert_int_equal(parse(json, &pod, containers), 0);
		assert_string_equal(pod.uid, "u-1");
		assert_string_equal(pod.cgroup_uid, cases[i].cgroup_uid);
	}
}

/* Text that Kubernetes would never let through, and more containers than fit. */
static void test_hostile(void **state)
{
	struct pod_container containers[POD_CONTAINERS_MAX];
	struct pod_identity pod;
	struct buf json;

	(void)state;
	assert_int_equal(parse("{\"metadata\":{\"uid\":\"u\",\"namespace\":\"n\\\"\\\\\\n\","
			       "\"name\":\"\xff\xfe\\u001b[31m\\u0000x\"}}",
			       &pod, containers),
			 0);
	assert_string_equal(pod.namespace, "n\"\\\n");
	assert_memory_equal(pod.name, "\xff\xfe\x1b[31m", 7);

	buf_init(&json, 0);
	buf_str(&json, "{" META "},\"spec\":{\"nodeName\":\"");
	/* 84 euro signs fill 252 bytes; the 85th does not fit 253 and is not cut in half. */
	for (int i = 0; i < 1000; i++)
		buf_str(&json, "\xe2\x82\xac");
	buf_str(&json, "\",\"containers\":[");
	for (int i = 0; i < POD_CONTAINERS_MAX + 3; i++)
		buf_printf(&json, "{\"name\":\"c%d\"},", i);
	buf_str(&json, "{\"name\":\"c1\"}]},\"status\":{\"containerStatuses\":["
		       "{\"name\":\"c0\",\"containerID\":\"containerd://../../etc\"},"
		       "{\"name\":\"c1\",\"containerID\":\"containerd://");
	for (int i = 0; i < 65; i++)
		buf_char(&json, 'a');
	buf_str(&json, "\"},{\"name\":\"c2\",\"containerID\":\"containerd://");
	for (int i = 0; i < 64; i++)
		buf_char(&json, 'a');
	buf_str(&json, "\"},{\"name\":\"c66\"}]}}");
	assert_int_equal(json.err, 0);
	assert_int_equal(parse(json.data, &pod, containers), 0);
	assert_int_equal(strlen(pod.node), 252);
	assert_int_equal(pod.n_containers, POD_CONTAINERS_MAX);
	assert_int_equal(pod.containers_dropped, 4);
	assert_string_equal(containers[0].id, "");
	assert_string_equal(containers[1].id, "");
	assert_int_equal(strlen(containers[2].id), 64);
	buf_done(&json);
}

/* The mirror pod of the API server carries the hash that the kubelet's list has as uid. */
static void test_mirror_pod(void **state)
{
	struct pod_table *api = fixture_table("kubelet-1.20/api-pods-by-node.json");
	struct pod_table *kubelet = fixture_table("kubelet-1.20/kubelet-jobs-pods.json");
	const struct pod_entry *mirror, *real;

	(void)state;
	assert_int_equal(pod_table_seal(api), 0);
	assert_int_equal(pod_table_seal(kubelet), 0);
	mirror = pod_table_find(api, "33049ceeea1ab18b87b387440b3647a4");
	real = pod_table_find(kubelet, "33049ceeea1ab18b87b387440b3647a4");
	assert_non_null(mirror);
	assert_non_null(real);
	assert_string_equal(mirror->pod.name, "static-web-node-a");
	assert_string_equal(mirror->pod.uid, "5069d2b9-a619-4b07-9646-bf15b2ec9c04");
	assert_string_equal(mirror->pod.owner_kind, "Node");
	assert_string_equal(real->pod.uid, "33049ceeea1ab18b87b387440b3647a4");
	pod_table_free(api);
	pod_table_free(kubelet);
}

/* The recordings' builds are the pods that their author labelled type=build-job. */
static void test_recorded_builds(void **state)
{
	static const struct {
		const char *name;
		size_t pods, builds;
	} lists[] = {
		{ "kubelet-1.20/kubelet-jobs-pods.json", 30, 15 },
		{ "kubelet-1.20/kubelet-after-pods.json", 37, 22 },
		{ "kubelet-1.20/kubelet-readonly-port-pods.json", 28, 15 },
		{ "kubelet-1.36/kubelet-jobs-pods.json", 26, 17 }, /* of 23 pods of Jobs */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct pod_table *table = fixture_table(lists[i].name);
		size_t builds = 0;

		assert_int_equal(pod_table_seal(table), 0);
		assert_int_equal(pod_table_count(table), lists[i].pods);
		for (size_t j = 0; j < pod_table_count(table); j++) {
			const struct pod_identity *pod = &pod_table_at(table, j)->pod;

			assert_string_equal(pod->node, "node-a");
			assert_true(pod->start_wall_ms > 0);
			if (*pod->builder == '\0')
				continue;
			assert_string_equal(pod->builder, "job");
			assert_string_equal(pod->owner_kind, "Job");
			builds++;
		}
		assert_int_equal(builds, lists[i].builds);
		pod_table_free(table);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_fields),	cmocka_unit_test(test_wrong_types),
		cmocka_unit_test(test_refused),		cmocka_unit_test(test_config_hash),
		cmocka_unit_test(test_hostile),		cmocka_unit_test(test_mirror_pod),
		cmocka_unit_test(test_recorded_builds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
