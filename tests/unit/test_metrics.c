// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/buf.h"
#include "show/metric_table.h"
#include "show/metrics.h"
#include "show_fixture.h"

#define FFFD "\xef\xbf\xbd"

static struct show_fixture fixture;
static struct metrics *metrics;
static struct buf text;

static int setup(void **state)
{
	(void)state;
	fixture_init(&fixture);
	buf_init(&text, 0);
	return metrics_new(&metrics);
}

static int teardown(void **state)
{
	(void)state;
	metrics_free(metrics);
	buf_done(&text);
	fixture_done(&fixture);
	return 0;
}

static void render(void)
{
	buf_reset(&text);
	assert_int_equal(metrics_render(metrics, &fixture.view, &text), 0);
	metrics_render_age(&text, &fixture.snapshot, fixture.snapshot.mono_ms + 1250);
}

static bool has_line(const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text.data; (at = strstr(at, line)); at++) {
		if ((at == text.data || at[-1] == '\n') && at[len] == '\n')
			return true;
	}
	return false;
}

#define assert_line(line)                                                  \
	do {                                                               \
		if (!has_line(line))                                       \
			fail_msg("no line `%s` in:\n%s", line, text.data); \
	} while (0)

static void assert_absent(const char *name)
{
	if (strstr(text.data, name))
		fail_msg("%s should be absent:\n%s", name, text.data);
}

/* Debian's promtool: an independent parser, which also knows duplicates and the naming rules. */
static void assert_promtool_clean(void)
{
	char path[] = "/tmp/pidwarden-metrics-XXXXXX", command[128], out[4096] = "";
	FILE *file;
	int fd, status;
	size_t n;

	if (system("command -v \"${PROMTOOL:-promtool}\" >/dev/null") != 0) {
		if (getenv("CI"))
			fail_msg("promtool is not installed");
		print_message("promtool is not installed: text not checked by it\n");
		skip();
	}
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text.data, text.len), (ssize_t)text.len);
	close(fd);
	snprintf(command, sizeof(command), "\"${PROMTOOL:-promtool}\" check metrics <%s 2>&1",
		 path);
	file = popen(command, "r");
	assert_non_null(file);
	n = fread(out, 1, sizeof(out) - 1, file);
	out[n] = '\0';
	status = pclose(file);
	unlink(path);
	if (status != 0 || n > 0)
		fail_msg("promtool says (status %d):\n%s", status, out);
}

static void test_values(void **state)
{
	struct pod_row *pod;

	(void)state;
	pod = fixture_pod(&fixture, "ci", "build-api-1", "gradle", 312);
	pod->limit = 1024;
	pod->totals = (struct task_totals){ 11, 22, 33, 44 };
	fixture_container(&fixture, "POD", 1);
	fixture_container(&fixture, "build", 311);
	fixture_pod(&fixture, "", "pod5f1c", "", 4);
	fixture_cgroup(&fixture, "/system.slice/ssh.service", 9)->limit = 18000;
	fixture.snapshot.cgroups_folded = 30;
	fixture.snapshot.cgroups_folded_tasks = 61;
	render();
	assert_line("pidwarden_build_info{version=\"0.1.0\",cgroup=\"v2\",counting=\"bpf\","
		    "mode=\"throttle\",node=\"node-a\"} 1");
	assert_line("pidwarden_node_limit_pids{limit=\"pid_max\"} 32468");
	assert_line("pidwarden_node_used_pids{limit=\"/kubepods\"} 5000");
	assert_line("pidwarden_node_headroom_pids{limit=\"/kubepods\"} 15000");
	assert_line("pidwarden_node_effective_headroom_pids 15000");
	assert_line("pidwarden_node_binding_limit{limit=\"/kubepods\"} 1");
	assert_line("pidwarden_node_tasks 6000");
	assert_line("pidwarden_node_pids_allocated 6400");
	assert_line("pidwarden_node_processes_created_total 900001");
	assert_line("pidwarden_node_exits_total 600004");
	assert_line(
		"pidwarden_pod_tasks{namespace=\"ci\",pod=\"build-api-1\",builder=\"gradle\"} 312");
	assert_line("pidwarden_pod_tasks{namespace=\"\",pod=\"pod5f1c\",builder=\"\"} 4");
	assert_line("pidwarden_pod_tasks_limit{namespace=\"ci\",pod=\"build-api-1\","
		    "builder=\"gradle\"} 1024");
	assert_absent("pidwarden_pod_tasks_limit{namespace=\"\"");
	assert_line("pidwarden_pod_processes_created_total{namespace=\"ci\",pod=\"build-api-1\","
		    "builder=\"gradle\"} 11");
	assert_line("pidwarden_pod_threads_created_total{namespace=\"ci\",pod=\"build-api-1\","
		    "builder=\"gradle\"} 22");
	assert_line("pidwarden_pod_execs_total{namespace=\"ci\",pod=\"build-api-1\","
		    "builder=\"gradle\"} 33");
	assert_line("pidwarden_pod_exits_total{namespace=\"ci\",pod=\"build-api-1\","
		    "builder=\"gradle\"} 44");
	assert_line("pidwarden_container_tasks{namespace=\"ci\",pod=\"build-api-1\","
		    "container=\"build\",builder=\"gradle\"} 311");
	assert_line("pidwarden_cgroup_tasks{cgroup=\"/system.slice/ssh.service\"} 9");
	assert_line("pidwarden_cgroup_tasks_limit{cgroup=\"/system.slice/ssh.service\"} 18000");
	assert_line("pidwarden_cgroups_folded 30");
	assert_line("pidwarden_cgroups_folded_tasks 61");
	assert_line("pidwarden_pods 2");
	assert_line("pidwarden_pods_unidentified 1");
	assert_line("pidwarden_builds 12");
	assert_line("pidwarden_build_budget 14");
	assert_line("pidwarden_node_expected_headroom_pids -350");
	assert_line("pidwarden_throttle_level 2");
	assert_line("pidwarden_throttle_max_concurrent_builds 14");
	assert_line("pidwarden_lever_actions_total{lever=\"webhook\",result=\"refreshed\"} 17");
	assert_line("pidwarden_kubelet_up 1");
	assert_line("pidwarden_kubelet_last_success_timestamp_seconds 1795291784");
	assert_line("pidwarden_kubelet_pods_skipped 1");
	assert_line("pidwarden_snapshot_age_seconds 1.25");
	assert_line("pidwarden_tick_duration_seconds 0.0015");
	assert_line("pidwarden_bpf_run_seconds_total{program=\"count_new_task\"} 0.125");
	assert_line("pidwarden_bpf_recursion_misses_total{program=\"count_new_task\"} 4");
	assert_line("pidwarden_bpf_lost_events_total{kind=\"slot_conflict\"} 5");
	assert_line("pidwarden_sentinel_realtime 0");
	assert_line("pidwarden_sentinel_wakeup_seconds_bucket{le=\"0.0001\"} 3");
	assert_line("pidwarden_sentinel_wakeup_seconds_bucket{le=\"0.02\"} 5");
	assert_line("pidwarden_sentinel_wakeup_seconds_bucket{le=\"+Inf\"} 6");
	assert_line("pidwarden_sentinel_wakeup_seconds_sum 0.15");
	assert_line("pidwarden_sentinel_wakeup_seconds_count 6");
	assert_line("pidwarden_writer_dropped_lines_total 1");
	assert_line("pidwarden_writer_failed_writes_total 2");
	assert_line("process_cpu_seconds_total 1.5");
	assert_line("process_start_time_seconds 1795290000.25");
	assert_absent("process_virtual_memory_max_bytes");
	assert_promtool_clean();
}

/* What is not known is not there; a zero would be read as a count. */
static void test_unknown_is_absent(void **state)
{
	static const char *const absent[] = {
		"_created_total",	  "_execs_total",
		"_exits_total",		  "pidwarden_node_pids_allocated",
		"pidwarden_build_budget", "pidwarden_node_expected_headroom_pids",
		"pidwarden_throttle_",	  "pidwarden_kubelet_last_success",
		"pidwarden_sentinel_",	  "pidwarden_writer_",
	};

	(void)state;
	fixture.snapshot.node.counting = false;
	fixture.snapshot.node.pids_allocated = 0;
	fixture.view.forecast.known = false;
	fixture.view.decision = NULL;
	fixture.view.sentinel.running = false;
	fixture.view.writer.running = false;
	fixture.snapshot.kubelet = (struct source_state){ 0 };
	fixture_pod(&fixture, "ci", "a", "", 1);
	render();
	for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
		assert_absent(absent[i]);
	assert_line("pidwarden_kubelet_up 0");
	assert_line("pidwarden_bpf_counting 0");
	assert_promtool_clean();
}

static void test_before_first_snapshot(void **state)
{
	(void)state;
	snapshot_reset(&fixture.snapshot);
	fixture.snapshot.sequence = 0;
	render();
	assert_absent("pidwarden_node_tasks");
	assert_absent("pidwarden_snapshot_age_seconds");
	assert_absent("pidwarden_pods");
	assert_line("pidwarden_snapshots_total 0");
	assert_line("process_threads 3");
	assert_promtool_clean();
}

/* The expected text is the format's: backslash, quote and newline escaped, the rest as it is, and
 * one U+FFFD for every byte that is no UTF-8 (0xc3 0x28: overlong start and a bracket). */
static void test_hostile_names(void **state)
{
	(void)state;
	fixture_pod(&fixture, "n\"s", "p\\o\nd", "b\xff", 1);
	fixture_container(&fixture, "c\xc3(\"\\\n", 1);
	fixture_pod(&fixture, "caf\xc3\xa9", "\xed\xa0\x80", "{}=,# \t\r\x01", 2);
	fixture_cgroup(&fixture, "/machine.slice/a\\x2db\" 1\npidwarden_node_tasks 0", 3);
	snprintf(fixture.snapshot.node.name, sizeof(fixture.snapshot.node.name), "x\"} 1\n#");
	render();
	assert_line("pidwarden_pod_tasks{namespace=\"n\\\"s\",pod=\"p\\\\o\\nd\",builder=\"b" FFFD
		    "\"} 1");
	assert_line("pidwarden_container_tasks{namespace=\"n\\\"s\",pod=\"p\\\\o\\nd\","
		    "container=\"c" FFFD "(\\\"\\\\\\n\",builder=\"b" FFFD "\"} 1");
	assert_line("pidwarden_pod_tasks{namespace=\"caf\xc3\xa9\",pod=\"" FFFD FFFD FFFD
		    "\",builder=\"{}=,# \t\r\x01\"} 2");
	assert_line("pidwarden_cgroup_tasks{cgroup=\"/machine.slice/a\\\\x2db\\\" "
		    "1\\npidwarden_node_tasks 0\"} 3");
	assert_promtool_clean();
}

static void test_equal_labels_are_one_series(void **state)
{
	struct pod_row *pod;

	(void)state;
	pod = fixture_pod(&fixture, "ci", "db-0", "", 30);
	pod->limit = 100;
	pod->totals.execs = 5;
	fixture_container(&fixture, "db", 29);
	fixture_pod(&fixture, "ci", "other", "", 1);
	pod = fixture_pod(&fixture, "ci", "db-0", "", 12);
	pod->limit = 100;
	pod->totals.execs = 2;
	fixture_container(&fixture, "db", 11);
	/* Equal only once the broken byte is replaced. */
	fixture_pod(&fixture, "", "x\xfe", "", 3);
	fixture_pod(&fixture, "", "x\xff", "", 4)->limit = 50;
	fixture_cgroup(&fixture, "/a\xfe", 1);
	fixture_cgroup(&fixture, "/a\xff", 2);
	limit_set_add(&fixture.snapshot.node.limits, LIMIT_SCOPE_CGROUP, "/kubepods", 100, 150);
	render();
	assert_line("pidwarden_pod_tasks{namespace=\"ci\",pod=\"db-0\",builder=\"\"} 42");
	assert_line("pidwarden_pod_tasks_limit{namespace=\"ci\",pod=\"db-0\",builder=\"\"} 200");
	assert_line("pidwarden_pod_execs_total{namespace=\"ci\",pod=\"db-0\",builder=\"\"} 7");
	assert_line("pidwarden_container_tasks{namespace=\"ci\",pod=\"db-0\",container=\"db\","
		    "builder=\"\"} 40");
	assert_line("pidwarden_pod_tasks{namespace=\"\",pod=\"x" FFFD "\",builder=\"\"} 7");
	assert_absent("pidwarden_pod_tasks_limit{namespace=\"\"");
	assert_line("pidwarden_cgroup_tasks{cgroup=\"/a" FFFD "\"} 3");
	assert_line("pidwarden_node_headroom_pids{limit=\"/kubepods\"} 50");
	assert_line("pidwarden_node_used_pids{limit=\"/kubepods\"} 100");
	assert_promtool_clean();
}

static void test_many_pods_and_again(void **state)
{
	char name[32];
	char *first;
	size_t first_len;

	(void)state;
	for (int i = 0; i < 500; i++) {
		snprintf(name, sizeof(name), "build-%d", i);
		fixture_pod(&fixture, "ci", name, "maven", (uint64_t)i);
		fixture_container(&fixture, "POD", 1);
		fixture_container(&fixture, "build", (uint64_t)i);
	}
	render();
	assert_line(
		"pidwarden_pod_tasks{namespace=\"ci\",pod=\"build-499\",builder=\"maven\"} 499");
	assert_promtool_clean();
	/* The memory of the last round must leave no trace in the next. */
	first = strdup(text.data);
	first_len = text.len;
	render();
	assert_int_equal(text.len, first_len);
	assert_memory_equal(text.data, first, first_len);
	free(first);
	snapshot_reset(&fixture.snapshot);
	render();
	assert_absent("build-");
	assert_promtool_clean();
}

static void test_small_buffer_fails(void **state)
{
	struct buf small;

	(void)state;
	buf_init(&small, 1000);
	assert_int_equal(metrics_render(metrics, &fixture.view, &small), -EFBIG);
	buf_done(&small);
}

static void test_numbers(void **state)
{
	static const struct {
		double value;
		const char *line;
	} cases[] = {
		{ 0, "pidwarden_loop_longest_seconds 0" },
		{ 0.1, "pidwarden_loop_longest_seconds 0.1" },
		{ 1e-7, "pidwarden_loop_longest_seconds 1e-07" },
		/* The nearest double to 0.1 + 0.2 needs 17 digits. */
		{ 0.30000000000000004, "pidwarden_loop_longest_seconds 0.30000000000000004" },
		{ 1e300, "pidwarden_loop_longest_seconds 1e+300" },
		{ -2.5, "pidwarden_loop_longest_seconds -2.5" },
		{ INFINITY, "pidwarden_loop_longest_seconds +Inf" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fixture.view.loop_longest_seconds = cases[i].value;
		render();
		assert_line(cases[i].line);
	}
}

static void test_table(void **state)
{
	(void)state;
	for (size_t i = 0; i < metric_table_n; i++) {
		const struct metric *metric = &metric_table[i];
		size_t len = strlen(metric->name);
		bool total = len > 6 && strcmp(metric->name + len - 6, "_total") == 0;

		assert_true(strncmp(metric->name, "pidwarden_", 10) == 0 ||
			    strncmp(metric->name, "process_", 8) == 0);
		assert_int_equal(metric->type == METRIC_COUNTER, total);
		assert_null(strpbrk(metric->help, "\\\n|"));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(metric->name, metric_table[j].name);
	}
}

static void test_doc_is_current(void **state)
{
	static char file_text[65536];
	FILE *file = fopen(FIXTURES "/../../docs/metrics.md", "r");
	size_t n;

	(void)state;
	assert_non_null(file);
	n = fread(file_text, 1, sizeof(file_text) - 1, file);
	file_text[n] = '\0';
	fclose(file);
	metrics_write_doc(&text);
	assert_int_equal(text.err, 0);
	assert_string_equal(text.data, file_text);
}

/* README.md between its two lines is what the table says. */
static void test_readme(void **state)
{
	static char file_text[1 << 18];
	struct buf text = { 0 };
	char *begin, *end;
	FILE *file = fopen(FIXTURES "/../../README.md", "r");
	size_t n;

	(void)state;
	assert_non_null(file);
	n = fread(file_text, 1, sizeof(file_text) - 1, file);
	file_text[n] = '\0';
	fclose(file);
	begin = strstr(file_text, METRICS_DOC_BEGIN);
	end = strstr(file_text, METRICS_DOC_END);
	assert_non_null(begin);
	assert_non_null(end);
	*end = '\0';
	metrics_write_table(&text);
	assert_string_equal(begin + strlen(METRICS_DOC_BEGIN), text.data);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readme),
		cmocka_unit_test_setup_teardown(test_values, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unknown_is_absent, setup, teardown),
		cmocka_unit_test_setup_teardown(test_before_first_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hostile_names, setup, teardown),
		cmocka_unit_test_setup_teardown(test_equal_labels_are_one_series, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_pods_and_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_small_buffer_fails, setup, teardown),
		cmocka_unit_test_setup_teardown(test_numbers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_doc_is_current, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
