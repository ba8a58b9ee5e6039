// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>

#include "base/parse.h"
#include "http_client.h"
#include "show/http_server.h"

#define BIG_BYTES ((size_t)16 * 1024 * 1024)

static struct loop *loop;
static struct http_server *server;
static struct http_text *small_text, *big_text;
static struct buf answer;

static void answer_small(struct http_answer *out, void *data)
{
	(void)data;
	out->body = http_text_current(small_text);
	buf_str(&out->tail, "tail\n");
}

static void answer_big(struct http_answer *out, void *data)
{
	(void)data;
	out->body = http_text_current(big_text);
}

static void answer_empty(struct http_answer *out, void *data)
{
	(void)data;
	out->status = 503;
	out->csp = "default-src 'self'";
}

static const struct http_route routes[] = {
	{ "/", answer_small },
	{ "/small", answer_small },
	{ "/big", answer_big },
	{ "/empty", answer_empty },
};

static void publish_big(char letter)
{
	struct buf *buf = http_text_begin(big_text);

	assert_non_null(buf);
	assert_int_equal(buf_reserve(buf, BIG_BYTES), 0);
	memset(buf->data, letter, BIG_BYTES);
	buf->len = BIG_BYTES;
	assert_int_equal(http_text_publish(big_text), 0);
}

static int start(const char *listen, unsigned int idle_seconds, int64_t request_ms)
{
	struct http_server_config config = {
		.routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.idle_seconds = idle_seconds,
		.request_ms = request_ms,
	};
	int err = http_listen_parse(listen, &config.listen);

	return err < 0 ? err : http_server_new(loop, &config, &server);
}

static int setup(void **state)
{
	(void)state;
	buf_init(&answer, 0);
	server = NULL;
	assert_int_equal(loop_new(&loop), 0);
	assert_int_equal(http_text_new(0, &small_text), 0);
	assert_int_equal(http_text_new(0, &big_text), 0);
	buf_str(http_text_begin(small_text), "small body\n");
	assert_int_equal(http_text_publish(small_text), 0);
	return 0;
}

static int setup_started(void **state)
{
	setup(state);
	return start("127.0.0.1:0", 0, 0);
}

static int teardown(void **state)
{
	(void)state;
	http_server_free(server);
	http_text_free(small_text);
	http_text_free(big_text);
	loop_free(loop);
	buf_done(&answer);
	return 0;
}

static size_t count(const char *needle)
{
	size_t n = 0;

	for (const char *at = answer.len > 0 ? answer.data : ""; (at = strstr(at, needle)); at++)
		n++;
	return n;
}

static int exchange(const char *request)
{
	assert_true(
		client_exchange(loop, http_server_port(server), request, strlen(request), &answer));
	return client_status(&answer);
}

static int get(const char *path)
{
	return client_get(loop, http_server_port(server), path, &answer);
}

static void assert_has(const char *text)
{
	if (count(text) == 0)
		fail_msg("no `%s` in:\n%s", text, answer.len > 0 ? answer.data : "(nothing)");
}

static void test_get(void **state)
{
	(void)state;
	assert_int_equal(get("/small"), 200);
	assert_string_equal(client_body(&answer), "small body\ntail\n");
	assert_has("\r\nContent-Length: 16\r\n");
	assert_has("\r\nContent-Type: text/plain; charset=utf-8\r\n");
	assert_has("\r\nX-Content-Type-Options: nosniff\r\n");
	assert_has("\r\nCache-Control: no-store\r\n");
	assert_has("\r\nContent-Security-Policy: default-src 'none'; frame-ancestors 'none'\r\n");
	assert_int_equal(get("/empty"), 503);
	assert_has("\r\nContent-Length: 0\r\n");
	assert_has("\r\nContent-Security-Policy: default-src 'self'\r\n");
	assert_int_equal(get("/small?name[]=pidwarden_pod_tasks"), 200);
}

static void test_head(void **state)
{
	(void)state;
	assert_int_equal(exchange("HEAD /small HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"),
			 200);
	assert_has("\r\nContent-Length: 16\r\n");
	assert_string_equal(client_body(&answer), "");
}

static void test_keep_alive_and_pipelining(void **state)
{
	(void)state;
	assert_int_equal(exchange("GET /small HTTP/1.1\r\nHost: t\r\n\r\n"
				  "GET /nothing HTTP/1.1\r\nHost: t\r\n\r\n"
				  "HEAD / HTTP/1.1\r\nHost: t\r\n\r\n"
				  "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"),
			 200);
	assert_int_equal(count("HTTP/1.1 200"), 3);
	assert_int_equal(count("HTTP/1.1 404"), 1);
	assert_int_equal(count("small body\n"), 2);
	assert_true(strstr(answer.data, "small body") < strstr(answer.data, "HTTP/1.1 404"));
}

static void test_methods(void **state)
{
	static const char *const methods[] = { "POST",	"PUT",	   "DELETE",   "OPTIONS", "PATCH",
					       "TRACE", "CONNECT", "PROPFIND", "get",	  "GETX" };
	char request[256];

	(void)state;
	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		snprintf(request, sizeof(request), "%s /small HTTP/1.1\r\nHost: t\r\n\r\n",
			 methods[i]);
		assert_int_equal(exchange(request), 405);
		assert_has("\r\nAllow: GET, HEAD\r\n");
	}
}

/* A body is never read, and above all never taken for the next request. */
static void test_bodies(void **state)
{
	static const char *const requests[] = {
		"Content-Length: 38\r\n\r\nGET /small HTTP/1.1\r\nHost: t\r\n\r\n1234567",
		"Content-Length: 1000000000000\r\n\r\n",
		"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /small HTTP/1.1\r\nHost: t\r\n\r\n",
		("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
		 "GET /small HTTP/1.1\r\nHost: t\r\n\r\n"),
	};
	char request[512];

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		snprintf(request, sizeof(request), "GET /small HTTP/1.1\r\nHost: t\r\n%s",
			 requests[i]);
		assert_in_range(exchange(request), 400, 499);
		assert_int_equal(count("HTTP/1.1 "), 1);
		assert_int_equal(count("small body"), 0);
		snprintf(request, sizeof(request), "POST /small HTTP/1.1\r\nHost: t\r\n%s",
			 requests[i]);
		assert_in_range(exchange(request), 400, 499);
		assert_int_equal(count("HTTP/1.1 "), 1);
	}
	assert_int_equal(exchange("GET / HTTP/1.1\r\nHost: t\r\nContent-Length: 0\r\n"
				  "Connection: close\r\n\r\n"),
			 200);
}

static void test_paths(void **state)
{
	static const char *const paths[] = {
		"//",	     "//small",	    "/small/",	       "/./small",
		"/../small", "/x/../small", "/%2e%2e/small",   "/%73mall",
		"/small%00", "/small;x",    "/SMALL",	       "/smal",
		"/smallx",   "/%",	    "/\\small",	       "small",
		"*",	     "/etc/passwd", "/small%0d%0aX:y", "http://t/small",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		int status = get(paths[i]);

		if (status != 404 && status != 400)
			fail_msg("%s: %d", paths[i], status);
		assert_int_equal(count("small body"), 0);
	}
}

static void test_nul(void **state)
{
	static const char path[] = "GET /small\0 HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
	static const char header[] =
		"GET /small HTTP/1.1\r\nHost: t\0x\r\nConnection: close\r\n\r\n";

	(void)state;
	/* libmicrohttpd hands out C strings, so the path ends at the NUL. That is no way around
	 * anything: all that can be had is what "/small" gives. */
	client_exchange(loop, http_server_port(server), path, sizeof(path) - 1, &answer);
	assert_true(client_status(&answer) >= 400 || client_status(&answer) == 0 ||
		    strcmp(client_body(&answer), "small body\ntail\n") == 0);
	client_exchange(loop, http_server_port(server), header, sizeof(header) - 1, &answer);
	assert_int_equal(get("/small"), 200);
}

static void test_malformed(void **state)
{
	static const char *const requests[] = {
		"\r\n\r\n\r\nnonsense\r\n\r\n",
		"GET\r\n\r\n",
		"GET /small HTTP/1.1 x\r\nHost: t\r\n\r\n",
		"GET /small /small HTTP/1.1\r\nHost: t\r\n\r\n",
		"GET /small\r\n\r\n",
		"GET /small HTTP/9.9\r\nHost: t\r\n\r\n",
		"GET /small HTTP/1.1\r\n\r\n", /* no Host */
		"GET /small HTTP/1.1\r\nHost: t\r\nContent-Length: -1\r\n\r\n",
		"GET /small HTTP/1.1\r\nHost: t\r\nContent-Length: 1x\r\n\r\n",
		"GET /small HTTP/1.1\r\nHost: t\r\nContent-Length: 99999999999999999999999\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", /* a TLS client */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		struct buf request;

		buf_init(&request, 0);
		buf_str(&request, requests[i]);
		client_exchange(loop, http_server_port(server), request.data, request.len, &answer);
		if (count("small body") > 0)
			fail_msg("served: %s", requests[i]);
		buf_done(&request);
	}
	assert_int_equal(get("/small"), 200);
}

static void test_huge_requests(void **state)
{
	struct buf request;

	(void)state;
	buf_init(&request, 0);
	buf_str(&request, "GET /small HTTP/1.1\r\nHost: t\r\nX: ");
	for (int i = 0; i < 100000; i++)
		buf_str(&request, "0123456789");
	buf_str(&request, "\r\n\r\n");
	client_exchange(loop, http_server_port(server), request.data, request.len, &answer);
	assert_int_equal(count("small body"), 0);
	buf_reset(&request);
	buf_str(&request, "GET /");
	for (int i = 0; i < 5000; i++)
		buf_str(&request, "0123456789");
	buf_str(&request, " HTTP/1.1\r\nHost: t\r\n\r\n");
	client_exchange(loop, http_server_port(server), request.data, request.len, &answer);
	assert_int_equal(count("small body"), 0);
	buf_reset(&request);
	buf_str(&request, "GET /small HTTP/1.1\r\nHost: t\r\n");
	for (int i = 0; i < 20000; i++)
		buf_printf(&request, "H%d: %d\r\n", i, i);
	buf_str(&request, "\r\n");
	client_exchange(loop, http_server_port(server), request.data, request.len, &answer);
	assert_int_equal(count("small body"), 0);
	buf_done(&request);
	/* What a browser with many cookies sends is served. */
	buf_init(&request, 0);
	buf_str(&request, "GET /small HTTP/1.1\r\nHost: t\r\nConnection: close\r\nCookie: ");
	for (int i = 0; i < 600; i++)
		buf_str(&request, "0123456789");
	buf_str(&request, "\r\n\r\n");
	assert_int_equal(exchange(request.data), 200);
	buf_done(&request);
	assert_int_equal(get("/small"), 200);
}

static int threads(void)
{
	char text[4096];
	const char *at;

	assert_true(read_small_file(AT_FDCWD, "/proc/self/status", text, sizeof(text)) > 0);
	at = strstr(text, "\nThreads:");
	assert_non_null(at);
	return atoi(at + strlen("\nThreads:"));
}

static void test_no_thread_is_made(void **state)
{
	int before = threads();
	int fds[20];

	(void)state;
	assert_int_equal(start("127.0.0.1:0", 0, 0), 0);
	for (size_t i = 0; i < 20; i++)
		fds[i] = client_connect("127.0.0.1", http_server_port(server), 0);
	client_turn(loop, 50);
	assert_int_equal(http_server_connections(server), 20);
	assert_int_equal(get("/small"), 200);
	assert_int_equal(threads(), before);
	for (size_t i = 0; i < 20; i++)
		close(fds[i]);
	client_turn(loop, 50);
	assert_int_equal(http_server_connections(server), 0);
}

/* A slow reader gets the version that it began with, to the last byte, while newer ones are served to
 * others. */
static void test_replaced_while_read(void **state)
{
	static const char request[] = "GET /big HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
	struct buf slow;
	size_t body;
	int fd;

	(void)state;
	publish_big('a');
	buf_init(&slow, 0);
	fd = client_connect("127.0.0.1", http_server_port(server), 4096);
	assert_int_equal(send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
	client_turn(loop, 50);
	for (char letter = 'b'; letter <= 'd'; letter++) {
		publish_big(letter);
		client_turn(loop, 10);
	}
	assert_int_equal(get("/big"), 200);
	assert_int_equal(client_body(&answer)[0], 'd');
	assert_true(client_read(loop, fd, &slow, 20000));
	close(fd);
	body = (size_t)(client_body(&slow) - slow.data);
	assert_int_equal(slow.len - body, BIG_BYTES);
	for (size_t i = body; i < slow.len; i++) {
		if (slow.data[i] != 'a')
			fail_msg("byte %zu is %c", i - body, slow.data[i]);
	}
	buf_done(&slow);
}

/* A reader that would hold back one version a tick is cut off. */
static void test_stale_reader_is_cut_off(void **state)
{
	static const char request[] = "GET /big HTTP/1.1\r\nHost: t\r\n\r\n";
	int fd;

	(void)state;
	publish_big('a');
	fd = client_connect("127.0.0.1", http_server_port(server), 4096);
	assert_int_equal(send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
	client_turn(loop, 50);
	assert_int_equal(http_server_connections(server), 1);
	for (char letter = 'b'; letter <= 'h'; letter++)
		publish_big(letter);
	client_turn(loop, 1500);
	assert_int_equal(http_server_connections(server), 0);
	close(fd);
}

static void test_failed_rendering_keeps_the_old_text(void **state)
{
	struct buf *buf;

	(void)state;
	buf = http_text_begin(small_text);
	buf_str(buf, "half a te");
	buf->err = -ENOMEM;
	assert_int_equal(http_text_publish(small_text), -ENOMEM);
	assert_int_equal(get("/small"), 200);
	assert_string_equal(client_body(&answer), "small body\ntail\n");
	buf = http_text_begin(small_text);
	buf_str(buf, "new\n");
	assert_int_equal(http_text_publish(small_text), 0);
	assert_int_equal(get("/small"), 200);
	assert_string_equal(client_body(&answer), "new\ntail\n");
}

/* In steady state the same two versions take turns: nothing is allocated. */
static void test_texts_are_used_again(void **state)
{
	const struct buf *first, *second;

	(void)state;
	first = http_text_begin(big_text);
	assert_int_equal(http_text_publish(big_text), 0);
	second = http_text_begin(big_text);
	assert_int_equal(http_text_publish(big_text), 0);
	assert_ptr_not_equal(first, second);
	assert_ptr_equal(http_text_begin(big_text), first);
	assert_int_equal(http_text_publish(big_text), 0);
	assert_ptr_equal(http_text_begin(big_text), second);
}

static void test_slow_request_is_cut_off(void **state)
{
	static const char request[] = "GET /small HTTP/1.1\r\nHost: t\r\nX-Slow: 1234567890";
	int64_t begin_ms = clock_mono_ms();
	size_t sent = 0;
	int fd;

	(void)state;
	/* A byte every 50 ms never lets the idle timeout of 15 s pass. */
	assert_int_equal(start("127.0.0.1:0", 0, 500), 0);
	fd = client_connect("127.0.0.1", http_server_port(server), 0);
	while (sent < sizeof(request) - 1 && send(fd, request + sent, 1, MSG_NOSIGNAL) == 1) {
		sent++;
		client_turn(loop, 50);
	}
	assert_true(sent < sizeof(request) - 1);
	assert_in_range(clock_mono_ms() - begin_ms, 500, 2200);
	assert_int_equal(http_server_connections(server), 0);
	close(fd);
	assert_int_equal(get("/small"), 200);
}

static void test_idle_connection_is_closed(void **state)
{
	struct buf nothing;
	int fd;

	(void)state;
	assert_int_equal(start("127.0.0.1:0", 1, 0), 0);
	buf_init(&nothing, 0);
	fd = client_connect("127.0.0.1", http_server_port(server), 0);
	assert_true(client_read(loop, fd, &nothing, 4000));
	close(fd);
	buf_done(&nothing);
}

static void test_connection_limit(void **state)
{
	int fds[100];
	int other;

	(void)state;
	for (size_t i = 0; i < 100; i++) {
		fds[i] = client_connect("127.0.0.1", http_server_port(server), 0);
		loop_run_once(loop, 0);
	}
	client_turn(loop, 100);
	assert_int_equal(http_server_connections(server), 64);
	/* Another address of the same machine is another client. */
	other = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	{
		struct sockaddr_in from = { .sin_family = AF_INET };
		struct sockaddr_in to = { .sin_family = AF_INET,
					  .sin_port = htons(http_server_port(server)) };
		static const char request[] =
			"GET /small HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";

		inet_pton(AF_INET, "127.0.0.2", &from.sin_addr);
		inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
		assert_int_equal(bind(other, (struct sockaddr *)&from, sizeof(from)), 0);
		assert_int_equal(connect(other, (struct sockaddr *)&to, sizeof(to)), 0);
		assert_int_equal(send(other, request, sizeof(request) - 1, 0), sizeof(request) - 1);
		assert_true(client_read(loop, other, &answer, 3000));
		assert_int_equal(client_status(&answer), 200);
	}
	close(other);
	for (size_t i = 0; i < 100; i++)
		close(fds[i]);
	client_turn(loop, 100);
	assert_int_equal(http_server_connections(server), 0);
	assert_int_equal(get("/small"), 200);
}

static void test_both_families(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n";
	static const char *const hosts[] = { "127.0.0.1", "::1" };
	int probe = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool v6 = probe >= 0;

	(void)state;
	if (v6)
		close(probe);
	assert_int_equal(start("[::]:0", 0, 0), 0);
	for (size_t i = 0; i < (v6 ? 2u : 1u); i++) {
		int fd = client_connect(hosts[i], http_server_port(server), 0);

		if (fd < 0 && i == 1) {
			print_message("no ::1 on this machine: IPv6 not tried\n");
			break;
		}
		assert_true(fd >= 0);
		buf_reset(&answer);
		assert_int_equal(send(fd, request, sizeof(request) - 1, 0), sizeof(request) - 1);
		assert_true(client_read(loop, fd, &answer, 3000));
		assert_int_equal(client_status(&answer), 200);
		close(fd);
	}
}

static void test_port_in_use(void **state)
{
	struct http_server *first = server;
	char listen[32];

	(void)state;
	snprintf(listen, sizeof(listen), "127.0.0.1:%u", http_server_port(server));
	assert_int_equal(start(listen, 0, 0), -EADDRINUSE);
	server = first;
	assert_int_equal(get("/small"), 200);
}

static void test_listen_parse(void **state)
{
	static const struct {
		const char *str;
		int family; /* 0: refused */
		uint16_t port;
	} cases[] = {
		{ "127.0.0.1:9917", AF_INET, 9917 },
		{ "0.0.0.0:0", AF_INET, 0 },
		{ "[::]:9917", AF_INET6, 9917 },
		{ "[::1]:1", AF_INET6, 1 },
		{ "[fe80::1:2:3:4]:65535", AF_INET6, 65535 },
		{ "[::ffff:10.0.0.1]:80", AF_INET6, 80 },
		{ ":9917", AF_INET6, 9917 },
		{ "", 0, 0 },
		{ "9917", 0, 0 },
		{ "127.0.0.1", 0, 0 },
		{ "127.0.0.1:", 0, 0 },
		{ "127.0.0.1:65536", 0, 0 },
		{ "127.0.0.1:-1", 0, 0 },
		{ "127.0.0.1:+1", 0, 0 },
		{ "127.0.0.1: 1", 0, 0 },
		{ "127.0.0.1:1 ", 0, 0 },
		{ "127.1:80", 0, 0 },
		{ "::1:9917", 0, 0 },
		{ "[::1]9917", 0, 0 },
		{ "[]:9917", 0, 0 },
		{ "[:9917", 0, 0 },
		{ "]:9917", 0, 0 },
		{ "[::1:9917", 0, 0 },
		{ "[127.0.0.1]:9917", 0, 0 },
		{ "[fe80::1%lo]:9917", 0, 0 },
		{ "localhost:9917", 0, 0 },
		{ "*:9917", 0, 0 },
		{ "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:1", 0, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_listen listen;
		int err = http_listen_parse(cases[i].str, &listen);

		if (cases[i].family == 0) {
			if (err != -EINVAL)
				fail_msg("%s: %d", cases[i].str, err);
			continue;
		}
		if (err != 0 || listen.addr.ss_family != cases[i].family)
			fail_msg("%s: %d", cases[i].str, err);
		assert_int_equal(ntohs(((struct sockaddr_in *)&listen.addr)->sin_port),
				 cases[i].port);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_get, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_head, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_keep_alive_and_pipelining, setup_started,
						teardown),
		cmocka_unit_test_setup_teardown(test_methods, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_bodies, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_paths, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_nul, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_huge_requests, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_no_thread_is_made, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replaced_while_read, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_stale_reader_is_cut_off, setup_started,
						teardown),
		cmocka_unit_test_setup_teardown(test_failed_rendering_keeps_the_old_text,
						setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_texts_are_used_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_request_is_cut_off, setup, teardown),
		cmocka_unit_test_setup_teardown(test_idle_connection_is_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connection_limit, setup_started, teardown),
		cmocka_unit_test_setup_teardown(test_both_families, setup, teardown),
		cmocka_unit_test_setup_teardown(test_port_in_use, setup_started, teardown),
		cmocka_unit_test(test_listen_parse),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
