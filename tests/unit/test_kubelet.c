// SPDX-License-Identifier: Apache-2.0
#include "kube/kubelet.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "http_server.h"
#include "kubelet_fixture.h"

static struct server server;
static struct loop *loop;
static struct http_client *http;
static int updates;
static size_t alive; /* what pods_alive() says; all of them are the listed ones */
static int log_lines;
static char last_line[1024];

static bool pod_alive(const char *cgroup_uid, void *data)
{
	(void)cgroup_uid;
	(void)data;
	return alive > 0;
}

static size_t pods_alive(void *data)
{
	(void)data;
	return alive;
}

static void on_update(void *data)
{
	(void)data;
	updates++;
}

static void on_log(const char *line, size_t len, void *data)
{
	(void)data;
	log_lines++;
	snprintf(last_line, sizeof(last_line), "%.*s", (int)len, line);
}

static struct kubelet *new_kubelet(struct kubelet_options options)
{
	struct kubelet *kubelet;

	if (!options.url)
		options.url = server.url;
	if (options.timeout_ms == 0)
		options.timeout_ms = 2000;
	options.pod_alive = pod_alive;
	options.pods_alive = pods_alive;
	options.on_update = on_update;
	updates = 0;
	log_lines = 0;
	assert_int_equal(kubelet_new(loop, http, &options, &kubelet), 0);
	return kubelet;
}

static void wait_updates(int n, int64_t max_ms)
{
	int64_t end = clock_mono_ms() + max_ms;

	while (updates < n && clock_mono_ms() < end)
		assert_int_equal(loop_run_once(loop, 10), 0);
	if (updates < n)
		fail_msg("%d updates of %d within %lld ms", updates, n, (long long)max_ms);
}

static void spin_ms(int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		assert_int_equal(loop_run_once(loop, 10), 0);
}

static void serve_fixture(const char *name)
{
	size_t len;
	char *text = fixture_load(name, &len);

	server_set(&server, SERVER_BODY, 200, text, len);
	free(text);
}

static void test_good_list(void **state)
{
	static const struct {
		const char *name;
		size_t pods;
		const char *uid, *pod;
	} lists[] = {
		{ "kubelet-1.20/kubelet-jobs-pods.json", 30, "33049ceeea1ab18b87b387440b3647a4",
		  "static-web-node-a" },
		{ "kubelet-1.36/kubelet-jobs-pods.json", 26, "93e00b23-c1fc-4efe-9e80-7247e16fc713",
		  "starved-lhgmp" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		struct kubelet *kubelet;
		const struct pod_entry *pod;

		alive = 0;
		serve_fixture(lists[i].name);
		/* The base URL may end with slashes. */
		kubelet = new_kubelet((struct kubelet_options){ 0 });
		assert_null(kubelet_pods(kubelet));
		assert_false(kubelet_state(kubelet)->up);
		wait_updates(1, 3000);
		assert_true(kubelet_state(kubelet)->up);
		assert_true(kubelet_state(kubelet)->ever);
		assert_true(kubelet_state(kubelet)->configured);
		assert_string_equal(kubelet_state(kubelet)->error, "");
		assert_true(clock_wall_ms() - kubelet_state(kubelet)->last_good_wall_ms < 3000);
		assert_int_equal(pod_table_count(kubelet_pods(kubelet)), lists[i].pods);
		pod = pod_table_find(kubelet_pods(kubelet), lists[i].uid);
		assert_non_null(pod);
		assert_string_equal(pod->pod.name, lists[i].pod);
		assert_int_equal(log_lines, 1);
		kubelet_free(kubelet);
	}
}

static void test_request_line(void **state)
{
	char path[] = "/tmp/test_kubelet.XXXXXX", url[80];
	int fd = mkstemp(path);
	struct kubelet *kubelet;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "tok", 3), 3);
	close(fd);
	snprintf(url, sizeof(url), "%s//", server.url);
	server_set(&server, SERVER_ECHO, 500, "", 0);
	kubelet = new_kubelet((struct kubelet_options){ .url = url, .token_file = path });
	wait_updates(1, 3000);
	assert_non_null(strstr(kubelet_state(kubelet)->error,
			       "answered 500: GET /pods HTTP/1.1??Host: 127.0.0.1:"));
	kubelet_free(kubelet);
	unlink(path);
}

#define LIST(items) \
	"{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":" items "}"
#define POD(uid) "{\"metadata\":{\"uid\":\"" uid "\",\"namespace\":\"n\",\"name\":\"p\"}}"

/* Each of them once after a good list: the table stays, the state says what and since when, one
 * line is logged, and a good answer mends it. */
static void test_bad_answers(void **state)
{
	static const struct {
		enum server_mode mode;
		int status;
		const char *body; /* "@name": a recorded one */
		const char *error; /* part of it */
	} cases[] = {
		{ SERVER_CLOSE, 0, "", "closed before the end" },
		{ SERVER_HANG, 0, "", "no whole answer from" },
		{ SERVER_HALF, 200, LIST("[" POD("1") "," POD("2") "]"), "closed before the end" },
		{ SERVER_GARBAGE, 0, "", "HTTP/0.9" },
		{ SERVER_BODY, 401, "@kubelet-1.20/kubelet-401-no-token.txt",
		  "the kubelet answered 401: Unauthorized" },
		{ SERVER_BODY, 401, "@kubelet-1.36/kubelet-apiserver-down-new-token.txt",
		  "the kubelet answered 401: Unauthorized" },
		{ SERVER_BODY, 403, "@kubelet-1.20/kubelet-403-weak-token.txt",
		  "the kubelet answered 403: Forbidden (user=system:serviceaccount:node-agent:weak, verb=get, resource=nodes, subresource=proxy)" },
		/* 110 bytes, of which 100 are quoted */
		{ SERVER_BODY, 403, "@kubelet-1.36/kubelet-auth-weak-pods.txt",
		  "verb=get, resource=nodes, subresource(s)=[p" },
		{ SERVER_BODY, 500, "@kubelet-1.36/kubelet-apiserver-down-admin-cert.txt",
		  "the kubelet answered 500: Authorization error (user=kubernetes-admin" },
		{ SERVER_BODY, 400, "@kubelet-1.20/kubelet-http-to-https-port-400.txt",
		  "Client sent an HTTP request to an HTTPS server." },
		{ SERVER_BODY, 500, "\x1b[2J\xff\nx", "the kubelet answered 500: ?[2J??x" },
		{ SERVER_BODY, 503, "", "the kubelet answered 503" },
		{ SERVER_BODY, 204, "", "the kubelet answered 204" },
		{ SERVER_BODY, 200, "", "broken at byte 0: truncated" },
		{ SERVER_BODY, 200, "<html>", "broken at byte 0: not a JSON object" },
		{ SERVER_BODY, 200, "{\"items\":[" POD("1"), "truncated" },
		{ SERVER_BODY, 200, "{\"kind\":\"Status\",\"items\":[]}", "no pod list" },
		{ SERVER_BODY, 200, "{\"kind\":\"PodList\"}", "no items" },
		{ SERVER_BODY, 200, LIST("[{},7]"), "none of the kubelet's 2 pods" },
		/* A kubelet that has just started. */
		{ SERVER_BODY, 200, LIST("[]"), "lists 0 pods while 30 pod cgroups have tasks" },
		{ SERVER_BODY, 200, LIST("null"), "lists 0 pods while 30 pod cgroups have tasks" },
		{ SERVER_BODY, 200, LIST("[" POD("7aa35853-78a0-4389-a652-806c95d15f14") "]"),
		  "lists 1 pods while 30 pod cgroups have tasks" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kubelet *kubelet;
		int64_t good_ms;

		alive = 30;
		serve_fixture("kubelet-1.20/kubelet-jobs-pods.json");
		kubelet = new_kubelet(
			(struct kubelet_options){ .interval_ms = 100, .timeout_ms = 400 });
		wait_updates(1, 3000);
		assert_true(kubelet_state(kubelet)->up);
		good_ms = kubelet_state(kubelet)->last_good_wall_ms;

		if (cases[i].body[0] == '@')
			serve_fixture(cases[i].body + 1);
		else
			server_set(&server, SERVER_BODY, 200, cases[i].body, strlen(cases[i].body));
		server.shared->status = cases[i].status;
		server.shared->mode = (int)cases[i].mode;
		updates = 0;
		while (kubelet_state(kubelet)->up) {
			good_ms = kubelet_state(kubelet)->last_good_wall_ms;
			wait_updates(updates + 1, 3000);
		}
		if (!strstr(kubelet_state(kubelet)->error, cases[i].error))
			fail_msg("%zu: %s", i, kubelet_state(kubelet)->error);
		assert_true(strlen(kubelet_state(kubelet)->error) <= 100 + 60);
		assert_int_equal(kubelet_state(kubelet)->last_good_wall_ms, good_ms);
		assert_true(kubelet_state(kubelet)->ever);
		assert_int_equal(kubelet_state(kubelet)->failures, 1);
		assert_int_equal(pod_table_count(kubelet_pods(kubelet)), 30);
		assert_int_equal(log_lines, 2);

		serve_fixture("kubelet-1.20/kubelet-jobs-pods.json");
		updates = 0;
		wait_updates(1, 3000);
		if (!kubelet_state(kubelet)->up)
			fail_msg("%zu: %s", i, kubelet_state(kubelet)->error);
		assert_string_equal(kubelet_state(kubelet)->error, "");
		assert_int_equal(log_lines, 3);
		kubelet_free(kubelet);
	}
}

static void test_refused_and_token(void **state)
{
	char path[] = "/tmp/test_kubelet.XXXXXX";
	struct kubelet *kubelet;
	int fd = mkstemp(path);

	(void)state;
	close(fd);
	alive = 0;
	kubelet = new_kubelet((struct kubelet_options){ .url = "http://127.0.0.1:1" });
	wait_updates(2, 5000);
	assert_false(kubelet_state(kubelet)->ever);
	assert_string_equal(kubelet_state(kubelet)->error,
			    "cannot connect to 127.0.0.1 port 1: Connection refused");
	assert_int_equal(log_lines, 1);
	assert_null(kubelet_pods(kubelet));
	kubelet_free(kubelet);

	serve_fixture("kubelet-1.36/kubelet-jobs-pods.json");
	fd = open(path, O_WRONLY);
	assert_int_equal(write(fd, "tok", 3), 3);
	close(fd);
	kubelet = new_kubelet((struct kubelet_options){ .token_file = path, .interval_ms = 100 });
	wait_updates(1, 3000);
	assert_true(kubelet_state(kubelet)->up);
	unlink(path);
	updates = 0;
	while (kubelet_state(kubelet)->up)
		wait_updates(updates + 1, 3000);
	assert_non_null(strstr(kubelet_state(kubelet)->error, path));
	assert_int_equal(pod_table_count(kubelet_pods(kubelet)), 26);
	kubelet_free(kubelet);
}

/* Pods that cannot be used are left out and counted; the others are taken. */
static void test_skipped(void **state)
{
	static const char list[] = LIST("[" POD("1") ",{},7,{\"metadata\":tru}," POD(
		"2") ",[[[[[[[[[["
		     "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
		     "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"
		     "]]]]]]]]]]]");
	struct kubelet *kubelet;

	(void)state;
	alive = 0;
	server_set(&server, SERVER_CHUNKED, 200, list, strlen(list));
	kubelet = new_kubelet((struct kubelet_options){ 0 });
	wait_updates(1, 3000);
	assert_true(kubelet_state(kubelet)->up);
	assert_int_equal(pod_table_count(kubelet_pods(kubelet)), 2);
	assert_int_equal(kubelet_state(kubelet)->items_skipped, 4);
	kubelet_free(kubelet);
}

static void poke_until(struct kubelet *kubelet, int64_t end_ms)
{
	while (clock_mono_ms() < end_ms) {
		kubelet_poke(kubelet);
		loop_run_once(loop, 10);
	}
}

/* Requests as the server counts them. */
static void test_pokes(void **state)
{
	struct kubelet *kubelet;
	int64_t began_ms;
	int requests;

	(void)state;
	alive = 0;
	server_set(&server, SERVER_BODY, 200, LIST("[" POD("1") "]"),
		   strlen(LIST("[" POD("1") "]")));
	requests = server.shared->requests;
	kubelet = new_kubelet((struct kubelet_options){ .interval_ms = 60000 });
	/* Before the first answer they change nothing. */
	for (int i = 0; i < 10; i++)
		kubelet_poke(kubelet);
	wait_updates(1, 3000);
	assert_int_equal(server.shared->requests - requests, 1);

	/* Debounced: one request for many pokes, within a second. */
	server_set(&server, SERVER_BODY, 200, LIST("[" POD("1") "," POD("2") "]"),
		   strlen(LIST("[" POD("1") "," POD("2") "]")));
	poke_until(kubelet, clock_mono_ms() + 100);
	assert_int_equal(server.shared->requests - requests, 1);
	wait_updates(2, 1000);
	spin_ms(300);
	assert_int_equal(server.shared->requests - requests, 2);
	assert_int_equal(pod_table_count(kubelet_pods(kubelet)), 2);

	/* It helped: the next is as quick, 200 ms. It does not help: then 1 s, then 2 s. */
	began_ms = clock_mono_ms();
	poke_until(kubelet, began_ms + 800);
	assert_int_equal(server.shared->requests - requests, 3);
	poke_until(kubelet, began_ms + 2400);
	assert_int_equal(server.shared->requests - requests, 4);
	poke_until(kubelet, began_ms + 4000);
	assert_int_equal(server.shared->requests - requests, 5);
	kubelet_free(kubelet);

	/* A failing kubelet is left to its back-off: 1 s and 2 s, with 25 % jitter. */
	server_set(&server, SERVER_BODY, 500, "", 0);
	requests = server.shared->requests;
	kubelet = new_kubelet((struct kubelet_options){ .interval_ms = 60000 });
	poke_until(kubelet, clock_mono_ms() + 650);
	assert_int_equal(server.shared->requests - requests, 1);
	poke_until(kubelet, clock_mono_ms() + 1000);
	assert_int_equal(server.shared->requests - requests, 2);
	kubelet_free(kubelet);
}

static void test_retry_after(void **state)
{
	struct kubelet *kubelet;
	int requests = server.shared->requests;

	(void)state;
	server_set(&server, SERVER_BODY, 429, "slow down", 9);
	strcpy(server.shared->extra_header, "Retry-After: 3\r\n");
	kubelet = new_kubelet((struct kubelet_options){ 0 });
	wait_updates(1, 3000);
	spin_ms(2000);
	assert_int_equal(server.shared->requests - requests, 1);
	wait_updates(2, 2000);
	kubelet_free(kubelet);
}

static void test_freed_early(void **state)
{
	(void)state;
	serve_fixture("kubelet-1.20/kubelet-jobs-pods.json");
	for (int rounds = 0; rounds < 12; rounds++) {
		struct kubelet *kubelet = new_kubelet((struct kubelet_options){ 0 });

		for (int i = 0; i < rounds; i++)
			loop_run_once(loop, 1);
		kubelet_free(kubelet);
		spin_ms(2);
	}
	kubelet_free(NULL);
}

static double cpu_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static long peak_kib(void)
{
	struct rusage usage;

	assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
	return usage.ru_maxrss;
}

/*
 * 50 MB of every kind of hostility, after a good list: no round of the loop is long, the memory of
 * the whole process stays below the agent's 32 MB, the table stays. CPU time, not wall time: other
 * programs of the machine do not count. (Nor does what a sanitizer costs.)
 */
static void test_hostile(void **state)
{
	(void)state;
	alive = 30;
	for (int kind = 0; kind < 8; kind++) {
		struct kubelet *kubelet;
		double longest_ms = 0;
		int64_t began_ms;
		uint64_t bad;

		serve_fixture("kubelet-1.20/kubelet-jobs-pods.json");
		kubelet = new_kubelet(
			(struct kubelet_options){ .interval_ms = 200, .timeout_ms = 60000 });
		wait_updates(1, 3000);
		server.shared->hostile_kind = kind;
		server.shared->hostile_bytes = 50u << 20;
		server.shared->mode = SERVER_HOSTILE;
		updates = 0;
		began_ms = clock_mono_ms();
		/* A request of before the change of mode may still be good. */
		while (updates < 2 && kubelet_state(kubelet)->up &&
		       clock_mono_ms() - began_ms < 60000) {
			double round_ms = cpu_ms();

			assert_int_equal(loop_run_once(loop, 100), 0);
			round_ms = cpu_ms() - round_ms;
			if (round_ms > longest_ms)
				longest_ms = round_ms;
		}
		bad = kubelet_state(kubelet)->failures + kubelet_state(kubelet)->items_skipped;
		print_message("kind %d: longest round %.1f ms, peak %ld KiB: %s\n", kind,
			      longest_ms, peak_kib(), kubelet_state(kubelet)->error);
		assert_true(bad > 0);
		assert_true(pod_table_count(kubelet_pods(kubelet)) >= 30);
		assert_non_null(
			pod_table_find(kubelet_pods(kubelet), "33049ceeea1ab18b87b387440b3647a4"));
#ifndef __SANITIZE_ADDRESS__
		assert_true(longest_ms < 20);
		assert_true(peak_kib() < 32 * 1024);
#endif
		kubelet_free(kubelet);
	}
}

static int setup(void **state)
{
	(void)state;
	server_start(&server);
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_set_sink(on_log, NULL);
	assert_int_equal(loop_new(&loop), 0);
	return http_client_new(loop, NULL, &http);
}

static int teardown(void **state)
{
	(void)state;
	http_client_free(http);
	loop_free(loop);
	server_stop(&server);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_list),   cmocka_unit_test(test_request_line),
		cmocka_unit_test(test_bad_answers), cmocka_unit_test(test_refused_and_token),
		cmocka_unit_test(test_skipped),	    cmocka_unit_test(test_pokes),
		cmocka_unit_test(test_retry_after), cmocka_unit_test(test_freed_early),
		cmocka_unit_test(test_hostile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
