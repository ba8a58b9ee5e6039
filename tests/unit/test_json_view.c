// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <cjson/cJSON.h>
#include <stdlib.h>

#include "base/buf.h"
#include "show/json_view.h"
#include "show_fixture.h"

#define FFFD "\xef\xbf\xbd"

static struct show_fixture fixture;
static struct buf text;
static cJSON *json;

static int setup(void **state)
{
	(void)state;
	fixture_init(&fixture);
	buf_init(&text, 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	cJSON_Delete(json);
	json = NULL;
	buf_done(&text);
	fixture_done(&fixture);
	return 0;
}

static void parse(void (*render)(const struct view *view, struct buf *out))
{
	const char *end;

	cJSON_Delete(json);
	buf_reset(&text);
	render(&fixture.view, &text);
	assert_int_equal(text.err, 0);
	json = cJSON_ParseWithOpts(text.data, &end, false);
	if (!json)
		fail_msg("no JSON: %s", text.data);
	assert_string_equal(end, "\n");
}

/* "a.b.0.c" */
static const cJSON *at(const char *path)
{
	const cJSON *item = json;
	char part[64];

	while (*path) {
		size_t len = strcspn(path, ".");

		snprintf(part, sizeof(part), "%.*s", (int)len, path);
		item = cJSON_IsArray(item) ? cJSON_GetArrayItem(item, atoi(part)) :
					     cJSON_GetObjectItemCaseSensitive(item, part);
		if (!item)
			fail_msg("no %s in %s", part, text.data);
		path += len;
		path += *path == '.';
	}
	return item;
}

static void assert_str(const char *path, const char *value)
{
	assert_true(cJSON_IsString(at(path)));
	assert_string_equal(at(path)->valuestring, value);
}

static void assert_number(const char *path, double value)
{
	assert_true(cJSON_IsNumber(at(path)));
	if (at(path)->valuedouble < value || at(path)->valuedouble > value)
		fail_msg("%s is %f, not %f", path, at(path)->valuedouble, value);
}

static void assert_bool(const char *path, bool value)
{
	assert_true(cJSON_IsBool(at(path)));
	assert_int_equal(cJSON_IsTrue(at(path)), value);
}

static void assert_null_at(const char *path)
{
	if (!cJSON_IsNull(at(path)))
		fail_msg("%s is not null", path);
}

static void test_node(void **state)
{
	(void)state;
	parse(json_view_node);
	assert_str("node", "node-a");
	assert_str("version", "0.1.0");
	assert_str("mode", "throttle");
	assert_str("cgroup", "v2");
	assert_number("snapshot.sequence", 7);
	/* date -u -d @1795291784.250 */
	assert_str("snapshot.time", "2026-11-21T20:09:44.250Z");
	assert_number("snapshot.took_us", 1500);
	assert_str("level", policy_level_name(POLICY_THROTTLE));
	assert_number("level_number", 2);
	assert_str("level_since", "2026-11-21T20:08:20.000Z");
	assert_str("reason", "Running builds will take /kubepods to 19,200 of 20,000 tasks.");
	assert_number("max_concurrent", 14);
	assert_str("binding_limit", "/kubepods");
	assert_number("effective_headroom", 15000);
	assert_number("expected_headroom", -350);
	assert_int_equal(cJSON_GetArraySize(at("limits")), 3);
	assert_str("limits.0.name", "pid_max");
	assert_str("limits.0.scope", "node_pids");
	assert_number("limits.0.used", 6400);
	assert_number("limits.0.max", 32468);
	assert_number("limits.0.configured", 32768);
	assert_number("limits.0.headroom", 26068);
	assert_bool("limits.0.binding", false);
	assert_bool("limits.2.binding", true);
	assert_number("tasks", 6000);
	assert_number("pids_allocated", 6400);
	assert_number("totals.processes_created", 900001);
	assert_number("builds.running", 12);
	assert_number("builds.budget", 14);
	assert_number("builds.expected_pids_per_build", 480);
	assert_bool("sources.kubelet.up", true);
	assert_null_at("sources.kubelet.error");
	assert_bool("sources.bpf.up", true);
	assert_str("levers.0.name", "webhook");
	assert_str("levers.0.state", "in force");
	assert_null_at("levers.0.last_error");
	assert_number("levers.0.expires_in_seconds", 42.5);
	assert_number("levers.0.results.refreshed", 17);
}

static void test_unknown_is_null(void **state)
{
	static const char *const nulls[] = {
		"level",
		"level_number",
		"level_since",
		"reason",
		"max_concurrent",
		"binding_limit",
		"effective_headroom",
		"expected_headroom",
		"pids_allocated",
		"totals",
		"builds.budget",
		"builds.expected_pids_per_build",
		"sources.kubelet.last_success",
	};

	(void)state;
	fixture.view.decision = NULL;
	fixture.view.level_since_wall_ms = 0;
	fixture.view.forecast.known = false;
	fixture.view.n_levers = 0;
	fixture.snapshot.node.counting = false;
	fixture.snapshot.node.pids_allocated = 0;
	limit_set_reset(&fixture.snapshot.node.limits);
	fixture.snapshot.kubelet = (struct source_state){ .configured = true };
	snprintf(fixture.snapshot.kubelet.error, sizeof(fixture.snapshot.kubelet.error),
		 "connection \"refused\"\n");
	snprintf(fixture.snapshot.bpf_error, sizeof(fixture.snapshot.bpf_error), "needs CAP_BPF");
	parse(json_view_node);
	for (size_t i = 0; i < sizeof(nulls) / sizeof(nulls[0]); i++)
		assert_null_at(nulls[i]);
	assert_int_equal(cJSON_GetArraySize(at("limits")), 0);
	assert_int_equal(cJSON_GetArraySize(at("levers")), 0);
	assert_bool("sources.kubelet.up", false);
	assert_str("sources.kubelet.error", "connection \"refused\"\n");
	assert_str("sources.bpf.error", "needs CAP_BPF");
}

static void test_pods(void **state)
{
	struct pod_row *pod;

	(void)state;
	pod = fixture_pod(&fixture, "ci", "build-api-1", "gradle", 312);
	pod->limit = 1024;
	pod->age_ms = 61999;
	pod->totals.threads_created = 22;
	snprintf(pod->workload, sizeof(pod->workload), "build-api");
	snprintf(pod->phase, sizeof(pod->phase), "Running");
	fixture_container(&fixture, "POD", 1)->sandbox = true;
	fixture_container(&fixture, "build", 311);
	fixture_pod(&fixture, "", "pod5f1c", "", 4);
	fixture_cgroup(&fixture, "/system.slice/ssh.service", 9)->limit = 18000;
	fixture.snapshot.cgroups_folded = 30;
	fixture.snapshot.cgroups_folded_tasks = 61;
	parse(json_view_pods);
	assert_str("node", "node-a");
	assert_number("snapshot.sequence", 7);
	assert_int_equal(cJSON_GetArraySize(at("pods")), 2);
	assert_str("pods.0.namespace", "ci");
	assert_str("pods.0.name", "build-api-1");
	assert_str("pods.0.uid", "uid-1");
	assert_str("pods.0.builder", "gradle");
	assert_str("pods.0.workload", "build-api");
	assert_str("pods.0.phase", "Running");
	assert_bool("pods.0.build", true);
	assert_number("pods.0.age_seconds", 61);
	assert_number("pods.0.tasks", 312);
	assert_number("pods.0.limit", 1024);
	assert_number("pods.0.totals.threads_created", 22);
	assert_int_equal(cJSON_GetArraySize(at("pods.0.containers")), 2);
	assert_bool("pods.0.containers.0.sandbox", true);
	assert_str("pods.0.containers.1.name", "build");
	assert_number("pods.0.containers.1.tasks", 311);
	assert_null_at("pods.1.namespace");
	assert_null_at("pods.1.builder");
	assert_null_at("pods.1.limit");
	assert_bool("pods.1.known", false);
	assert_int_equal(cJSON_GetArraySize(at("pods.1.containers")), 0);
	assert_str("cgroups.0.path", "/system.slice/ssh.service");
	assert_number("cgroups.0.limit", 18000);
	assert_number("cgroups_folded", 30);
	assert_number("cgroups_folded_tasks", 61);
}

static void test_hostile_names(void **state)
{
	(void)state;
	fixture_pod(&fixture, "n\"s{", "p\\o\n\x01[", "b\xff", 1);
	fixture_container(&fixture, "</script>{[", 1);
	fixture_cgroup(&fixture, "/a\\x2d\"},{\"x\":[", 3);
	parse(json_view_pods);
	assert_str("pods.0.namespace", "n\"s{");
	assert_str("pods.0.name", "p\\o\n\x01[");
	assert_str("pods.0.builder", "b" FFFD);
	assert_str("pods.0.containers.0.name", "</script>{[");
	assert_str("cgroups.0.path", "/a\\x2d\"},{\"x\":[");
	assert_number("pods.0.tasks", 1);
}

static void test_error(void **state)
{
	(void)state;
	json_view_error("no \"snapshot\"", &text);
	assert_string_equal(text.data, "{\"error\":\"no \\\"snapshot\\\"\"}\n");
}

/* Every field that is served is documented, and by its own name. */
static void check_documented(const cJSON *item, const char *doc)
{
	char quoted[64];

	for (const cJSON *child = item->child; child; child = child->next) {
		if (child->string && strcmp(item->string ? item->string : "", "results") != 0) {
			snprintf(quoted, sizeof(quoted), "`%s`", child->string);
			if (!strstr(doc, quoted))
				fail_msg("docs/api.md has no %s", quoted);
		}
		check_documented(child, doc);
	}
}

static void test_every_field_is_documented(void **state)
{
	static char doc[65536];
	FILE *file = fopen(FIXTURES "/../../docs/api.md", "r");
	size_t n;

	(void)state;
	assert_non_null(file);
	n = fread(doc, 1, sizeof(doc) - 1, file);
	doc[n] = '\0';
	fclose(file);
	fixture_pod(&fixture, "ci", "build-api-1", "gradle", 312);
	fixture_container(&fixture, "build", 311);
	fixture_cgroup(&fixture, "/system.slice/ssh.service", 9);
	parse(json_view_node);
	check_documented(json, doc);
	parse(json_view_pods);
	check_documented(json, doc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_node, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_is_null, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pods, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_field_is_documented, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
