// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/resource.h>

#include "base/clean.h"
#include "base/clock.h"
#include "http_client.h"
#include "show/page.h"
#include "show/surface.h"
#include "show_fixture.h"

static struct show_fixture fixture;
static struct loop *loop;
static struct surface *surface;
static struct buf answer;

static int setup(void **state)
{
	struct http_listen listen;

	(void)state;
	fixture_init(&fixture);
	fixture.snapshot.mono_ms = clock_mono_ms();
	buf_init(&answer, 0);
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(http_listen_parse("127.0.0.1:0", &listen), 0);
	assert_int_equal(surface_new(loop, &listen, &surface), 0);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	surface_free(surface);
	loop_free(loop);
	buf_done(&answer);
	fixture_done(&fixture);
	return 0;
}

static int get(const char *path)
{
	return client_get(loop, surface_port(surface), path, &answer);
}

static void assert_has(const char *str)
{
	if (!strstr(answer.data, str))
		fail_msg("no `%s` in:\n%s", str, answer.data);
}

static void test_before_the_first_snapshot(void **state)
{
	(void)state;
	assert_int_equal(get("/healthz"), 200);
	assert_int_equal(get("/readyz"), 503);
	assert_has("no full snapshot yet");
	assert_int_equal(get("/api/v1/node"), 503);
	assert_has("{\"error\":\"no full snapshot yet\"}\n");
	assert_int_equal(get("/api/v1/pods"), 503);
	assert_int_equal(get("/metrics"), 200);
	assert_string_equal(client_body(&answer), "");
	assert_int_equal(get("/"), 200);
	/* Rendered, but still without a snapshot. */
	snapshot_reset(&fixture.snapshot);
	fixture.snapshot.sequence = 0;
	fixture.snapshot.kubelet = (struct source_state){ .configured = true };
	assert_int_equal(surface_render(surface, &fixture.view), 0);
	assert_int_equal(get("/readyz"), 503);
	assert_has("never reached so far; cgroups are shown by their own names");
	assert_int_equal(get("/api/v1/node"), 503);
	assert_string_equal(client_body(&answer), "{\"error\":\"no full snapshot yet\"}\n");
	assert_int_equal(get("/metrics"), 200);
	assert_has("process_threads 3\n");
}

static void test_after_it(void **state)
{
	double age;
	const char *line;

	(void)state;
	fixture_pod(&fixture, "ci", "build-api-1", "gradle", 312);
	assert_int_equal(surface_render(surface, &fixture.view), 0);
	assert_int_equal(get("/healthz"), 200);
	assert_int_equal(get("/readyz"), 200);
	assert_string_equal(client_body(&answer), "ready\nkubelet: up\ncounters: up\n");
	assert_int_equal(get("/api/v1/node"), 200);
	assert_has("\r\nContent-Type: application/json\r\n");
	assert_has("\"binding_limit\":\"/kubepods\"");
	assert_int_equal(get("/api/v1/pods"), 200);
	assert_has("\"name\":\"build-api-1\"");
	client_turn(loop, 300);
	assert_int_equal(get("/metrics"), 200);
	assert_has("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
	assert_has("\npidwarden_node_effective_headroom_pids 15000\n");
	/* The one value of the scrape, not of the tick. */
	line = strstr(answer.data, "\npidwarden_snapshot_age_seconds ");
	assert_non_null(line);
	age = strtod(strchr(line, ' '), NULL);
	assert_true(age >= 0.3 && age < 5);
}

static void test_readyz_names_what_is_missing(void **state)
{
	(void)state;
	fixture.snapshot.kubelet.up = false;
	snprintf(fixture.snapshot.kubelet.error, sizeof(fixture.snapshot.kubelet.error),
		 "HTTP 401\x1b[2J");
	fixture.snapshot.node.counting = false;
	snprintf(fixture.snapshot.bpf_error, sizeof(fixture.snapshot.bpf_error),
		 "CAP_BPF is missing");
	assert_int_equal(surface_render(surface, &fixture.view), 0);
	assert_int_equal(get("/readyz"), 200);
	assert_has("kubelet: unreachable since 2026-11-21T20:09:44Z (HTTP 401\\x1b[2J)");
	assert_has("cgroups newer than it are shown by their own names\n");
	assert_has("counters: none (CAP_BPF is missing)");
	fixture.snapshot.kubelet.configured = false;
	assert_int_equal(surface_render(surface, &fixture.view), 0);
	assert_int_equal(get("/readyz"), 200);
	assert_has("kubelet: not configured; cgroups are shown by their own names\n");
}

static void test_page(void **state)
{
	(void)state;
	assert_int_equal(get("/"), 200);
	assert_has("\r\nContent-Type: text/html; charset=utf-8\r\n");
	assert_has("default-src 'none'");
	assert_has("script-src 'sha256-");
	assert_has("style-src 'sha256-");
	assert_null(strstr(page_csp, "unsafe"));
	assert_int_equal(strlen(client_body(&answer)), page_html_len);
	/* Nothing is loaded from elsewhere, and agent's text never becomes markup. */
	assert_null(strstr(client_body(&answer), "http://"));
	assert_null(strstr(client_body(&answer), "https://"));
	assert_null(strstr(client_body(&answer), "innerHTML"));
	assert_null(strstr(client_body(&answer), "insertAdjacentHTML"));
}

static void test_process_stats(void **state)
{
	struct process_stats stats;
	struct rlimit limit;
	clean_close int fd = -1;
	uint64_t before, listed, n = 0;

	(void)state;
	assert_int_equal(process_stats_read(&stats), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(stats.max_fds, limit.rlim_cur);
	assert_int_equal(stats.threads, 1);
	assert_true(stats.cpu_seconds > 0 && stats.cpu_seconds < 600);
	assert_true(stats.resident_bytes > 1 << 20 && stats.resident_bytes < stats.virtual_bytes);
	/* Started within the last ten minutes by the wall clock. */
	assert_true(stats.start_seconds <= (double)clock_wall_ms() / 1000 + 1);
	assert_true(stats.start_seconds > (double)clock_wall_ms() / 1000 - 600);
	before = stats.open_fds;
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(process_stats_read(&stats), 0);
	assert_int_equal(stats.open_fds, before + 1);
	/* Counted another way. */
	for (int i = 0; i < 4096; i++)
		n += fcntl(i, F_GETFD) >= 0;
	assert_int_equal(stats.open_fds, n);
	assert_int_equal(process_stats_list_fds(&listed), 0);
	assert_int_equal(listed, n);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_before_the_first_snapshot, setup, teardown),
		cmocka_unit_test_setup_teardown(test_after_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_readyz_names_what_is_missing, setup, teardown),
		cmocka_unit_test_setup_teardown(test_page, setup, teardown),
		cmocka_unit_test(test_process_stats),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
