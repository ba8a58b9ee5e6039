// SPDX-License-Identifier: Apache-2.0
/* Answers good and bad, tokens, URLs, cancelling, TLS. */
#include "http_fetch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "kube/http_token.h"
#include "kube/http_url.h"

static void test_answers(void **state)
{
	static const struct {
		enum server_mode mode;
		int status;
		const char *body;
		int err;
		const char *error; /* part of it */
	} cases[] = {
		{ SERVER_BODY, 200, "hello", 0, "" },
		{ SERVER_BODY, 403, "Forbidden (user=x)", 0, "" },
		{ SERVER_BODY, 500, "", 0, "" },
		{ SERVER_CHUNKED, 200, "a body in little pieces", 0, "" },
		{ SERVER_REDIRECT, 302, "", 0, "" }, /* not followed */
		{ SERVER_HALF, 200, "0123456789", -ECONNRESET, "closed before the end" },
		{ SERVER_CLOSE, 0, "", -ECONNRESET, "closed before the end" },
		{ SERVER_GARBAGE, 0, "", -EIO, "HTTP/0.9" },
		{ SERVER_HEADERS, 200, "", -EIO, "too long" },
		{ SERVER_HANG, 0, "", -ETIMEDOUT, "within 300 ms" },
	};
	struct http_client *client = new_client();
	struct outcome outcome = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t began_ms = clock_mono_ms();

		server_set(&server, cases[i].mode, cases[i].status, cases[i].body,
			   strlen(cases[i].body));
		fetch(client,
		      (struct http_request_options){
			      .timeout_ms = cases[i].mode == SERVER_HANG ? 300 : 5000 },
		      &outcome);
		assert_int_equal(outcome.result.err, cases[i].err);
		if (!strstr(outcome.result.error, cases[i].error) ||
		    (cases[i].err == 0 && outcome.result.error[0] != '\0'))
			fail_msg("%zu: %s", i, outcome.result.error);
		if (cases[i].err == 0) {
			assert_int_equal(outcome.result.status, cases[i].status);
			assert_int_equal(outcome.result.body_bytes, strlen(cases[i].body));
			if (*cases[i].body != '\0')
				assert_string_equal(outcome.body.data, cases[i].body);
		}
		assert_true(clock_mono_ms() - began_ms < 2000);
	}
	http_client_free(client);
	buf_done(&outcome.body);
}

static void test_request(void **state)
{
	static const char *const headers[] = { "X-One: 1", "Content-Type: application/json", NULL };
	struct http_client *client = new_client();
	struct http_client_stats stats;
	struct outcome outcome = { 0 };
	int connections = server.shared->connections;

	(void)state;
	/* A proxy of the environment would make the request line absolute, or be refused. */
	setenv("http_proxy", "http://127.0.0.1:1", 1);
	server_set(&server, SERVER_ECHO, 200, "", 0);
	for (int i = 0; i < 3; i++) {
		fetch(client,
		      (struct http_request_options){ .method = i > 0 ? "PATCH" : NULL,
						     .headers = headers,
						     .body = "{\"max\":1}",
						     .body_len = 9 },
		      &outcome);
		assert_int_equal(outcome.result.err, 0);
		assert_int_equal(strncmp(outcome.body.data,
					 i > 0 ? "PATCH / HTTP/1.1\r\n" : "POST / HTTP/1.1\r\n",
					 i > 0 ? 18 : 17),
				 0);
		assert_non_null(strstr(outcome.body.data, "\r\nX-One: 1\r\n"));
		assert_non_null(strstr(outcome.body.data, "\r\n\r\n{\"max\":1}"));
		assert_null(strstr(outcome.body.data, "Expect"));
		assert_null(strstr(outcome.body.data, "Authorization"));
	}
	unsetenv("http_proxy");
	/* Nothing of one request is left in the next one's handle. */
	fetch(client, (struct http_request_options){ 0 }, &outcome);
	assert_int_equal(strncmp(outcome.body.data, "GET / HTTP/1.1\r\n", 16), 0);
	assert_null(strstr(outcome.body.data, "X-One"));
	assert_int_equal(server.shared->connections - connections, 1);
	http_client_stats(client, &stats);
	assert_int_equal(stats.requests, 4);
	assert_int_equal(stats.failures, 0);
	assert_int_equal(stats.connections, 1);

	server_set(&server, SERVER_BODY, 429, "slow down", 9);
	strcpy(server.shared->extra_header, "Retry-After: 7\r\n");
	fetch(client, (struct http_request_options){ 0 }, &outcome);
	assert_int_equal(outcome.result.status, 429);
	assert_int_equal(outcome.result.retry_after_ms, 7000);
	http_client_free(client);
	buf_done(&outcome.body);
}

static void test_body_caps(void **state)
{
	static char body[300000];
	struct http_client *client = new_client();
	struct outcome outcome = { 0 };

	(void)state;
	memset(body, 'x', sizeof(body));
	server_set(&server, SERVER_BODY, 200, body, sizeof(body));
	fetch(client, (struct http_request_options){ .max_body_bytes = sizeof(body) }, &outcome);
	assert_int_equal(outcome.result.err, 0);
	assert_int_equal(outcome.body.len, sizeof(body));
	fetch(client, (struct http_request_options){ .max_body_bytes = sizeof(body) - 1 },
	      &outcome);
	assert_int_equal(outcome.result.err, -EFBIG);
	assert_true(outcome.body.len < sizeof(body));
	outcome.refuse = -EBADMSG;
	fetch(client, (struct http_request_options){ 0 }, &outcome);
	assert_int_equal(outcome.result.err, -EBADMSG);
	assert_true(outcome.body.len <= 16384);
	http_client_free(client);
	buf_done(&outcome.body);
}

/* However much has arrived and however slow its reader, a round ends after a few pieces. */
static void test_slow_reader(void **state)
{
	static char body[1000000];
	struct http_client *client = new_client();
	struct outcome outcome = { .slow_us = 3000 };

	(void)state;
	for (size_t i = 0; i < sizeof(body); i++)
		body[i] = (char)('a' + i % 23);
	server_set(&server, SERVER_BODY, 200, body, sizeof(body));
	start(client, (struct http_request_options){ 0 }, &outcome);
	loop_take_longest_ms(loop);
	while (outcome.calls == 0)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(outcome.result.err, 0);
	assert_int_equal(outcome.body.len, sizeof(body));
	assert_memory_equal(outcome.body.data, body, sizeof(body));
	/* Without the pause: 3 ms for each of 62 pieces. */
	assert_true(loop_take_longest_ms(loop) < 60);

	/* Cancelled in a pause. */
	start(client, (struct http_request_options){ 0 }, &outcome);
	while (outcome.body.len < 50000)
		assert_int_equal(loop_run_once(loop, 100), 0);
	http_request_cancel(outcome.request);
	spin_ms(20);
	assert_int_equal(outcome.calls, 0);
	http_client_free(client);
	buf_done(&outcome.body);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static void test_token(void **state)
{
	static const struct {
		const char *text; /* NULL: no such file */
		int err;
		const char *error;
	} bad[] = {
		{ NULL, -ENOENT, "No such file" },  { "", -EINVAL, "empty" },
		{ "\n", -EINVAL, "empty" },	    { "a\r\nX-Evil: 1", -EINVAL, "no token has" },
		{ "a b", -EINVAL, "no token has" }, { "\xff", -EINVAL, "no token has" },
	};
	char path[] = "/tmp/test_http_client.XXXXXX", big[20000];
	struct http_client *client = new_client();
	struct outcome outcome = { 0 };
	int fd = mkstemp(path);
	int requests;

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	server_set(&server, SERVER_ECHO, 200, "", 0);
	write_file(path, "first\n");
	fetch(client, (struct http_request_options){ .token_file = path }, &outcome);
	assert_non_null(strstr(outcome.body.data, "\r\nAuthorization: Bearer first\r\n"));
	write_file(path, "second");
	fetch(client, (struct http_request_options){ .token_file = path }, &outcome);
	assert_non_null(strstr(outcome.body.data, "\r\nAuthorization: Bearer second\r\n"));

	requests = server.shared->requests;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		if (bad[i].text)
			write_file(path, bad[i].text);
		else
			unlink(path);
		fetch(client, (struct http_request_options){ .token_file = path }, &outcome);
		assert_int_equal(outcome.result.err, bad[i].err);
		if (!strstr(outcome.result.error, bad[i].error) ||
		    !strstr(outcome.result.error, path))
			fail_msg("%zu: %s", i, outcome.result.error);
	}
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	write_file(path, big);
	fetch(client, (struct http_request_options){ .token_file = path }, &outcome);
	assert_non_null(strstr(outcome.result.error, "too long"));
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	fetch(client, (struct http_request_options){ .token_file = path }, &outcome);
	assert_non_null(strstr(outcome.result.error, "no regular file"));
	unlink(path);
	/* In clear text to another machine: not even tried. */
	write_file(path, "secret");
	fetch(client,
	      (struct http_request_options){ .token_file = path, .url = "http://192.0.2.1:10255" },
	      &outcome);
	assert_int_equal(outcome.result.err, -EINVAL);
	assert_non_null(strstr(outcome.result.error, "not sent over http://"));
	unlink(path);
	assert_int_equal(server.shared->requests, requests);
	http_client_free(client);
	buf_done(&outcome.body);
}

static void test_urls(void **state)
{
	static const struct {
		const char *text;
		const char *host; /* NULL: refused */
		const char *port;
		bool secure, literal, loopback;
	} cases[] = {
		{ "http://127.0.0.1:10255/pods", "127.0.0.1", "10255", false, true, true },
		{ "https://[::1]:10250", "::1", "10250", true, true, true },
		{ "HTTPS://Node-A.example./x", "Node-A.example", "443", true, false, false },
		{ "http://localhost", "localhost", "80", false, true, true },
		{ "http://127.evil.example/", "127.evil.example", "80", false, false, false },
		{ "https://2130706433/", "127.0.0.1", "443", true, true, true },
		{ "ftp://host/", NULL, NULL, false, false, false },
		{ "file:///etc/passwd", NULL, NULL, false, false, false },
		{ "https://user:secret@host/", NULL, NULL, false, false, false },
		{ "node-a:10250", NULL, NULL, false, false, false },
		{ "", NULL, NULL, false, false, false },
		{ "http://", NULL, NULL, false, false, false },
		{ "http://host:99999/", NULL, NULL, false, false, false },
		{ "http://a b/", NULL, NULL, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_url url = { .text = strdup(cases[i].text) };
		const char *error = NULL;
		int err = http_url_parse(&url, &error);

		if ((err == 0) != (cases[i].host != NULL))
			fail_msg("%s: %d", cases[i].text, err);
		if (err == 0) {
			assert_string_equal(url.host, cases[i].host);
			assert_string_equal(url.port, cases[i].port);
			assert_int_equal(url.secure, cases[i].secure);
			assert_int_equal(url.literal, cases[i].literal);
			assert_int_equal(url.loopback, cases[i].loopback);
			assert_null(strstr(url.text, "example."));
		} else {
			assert_int_equal(err, -EINVAL);
			assert_non_null(error);
		}
		http_url_done(&url);
	}
}

static void test_no_connection(void **state)
{
	struct http_client *client = new_client();
	struct outcome outcome = { 0 };
	int64_t began_ms;

	(void)state;
	/* Port 1 of loopback: refused at once. */
	fetch(client, (struct http_request_options){ .url = "http://127.0.0.1:1/" }, &outcome);
	assert_int_equal(outcome.result.err, -ECONNREFUSED);
	assert_string_equal(outcome.result.error,
			    "cannot connect to 127.0.0.1 port 1: Connection refused");
	fetch(client, (struct http_request_options){ .url = "gopher://127.0.0.1/" }, &outcome);
	assert_int_equal(outcome.result.err, -EINVAL);
	/* A listener whose queue is full answers no SYN. */
	began_ms = clock_mono_ms();
	{
		struct sockaddr_in address = { .sin_family = AF_INET,
					       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof(address);
		int fd = socket(AF_INET, SOCK_STREAM, 0), filler[4];
		char url[64];

		assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
		assert_int_equal(listen(fd, 0), 0);
		assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
		for (int i = 0; i < 4; i++) {
			filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
			connect(filler[i], (struct sockaddr *)&address, len);
		}
		snprintf(url, sizeof(url), "http://127.0.0.1:%d", ntohs(address.sin_port));
		fetch(client,
		      (struct http_request_options){ .url = url, .connect_timeout_ms = 300 },
		      &outcome);
		assert_int_equal(outcome.result.err, -ETIMEDOUT);
		assert_non_null(strstr(outcome.result.error, "no connection to 127.0.0.1"));
		for (int i = 0; i < 4; i++)
			close(filler[i]);
		close(fd);
	}
	assert_true(clock_mono_ms() - began_ms < 1500);
	http_client_free(client);
	buf_done(&outcome.body);
}

/* Cancelled and freed in every state: no call afterwards; ASan sees the rest. */
static void test_cancel(void **state)
{
	static char body[100000];
	struct outcome outcome = { 0 };

	(void)state;
	memset(body, 'x', sizeof(body));
	for (int rounds = 0; rounds < 6; rounds++) {
		for (int whole = 0; whole < 2; whole++) {
			struct http_client *client = new_client();

			server_set(&server, rounds % 2 > 0 ? SERVER_HANG : SERVER_BODY, 200, body,
				   sizeof(body));
			start(client, (struct http_request_options){ 0 }, &outcome);
			for (int i = 0; i < rounds && outcome.calls == 0; i++)
				loop_run_once(loop, 20);
			if (whole == 0 && outcome.calls == 0) {
				outcome.calls = 0;
				http_request_cancel(outcome.request);
				spin_ms(20);
				assert_int_equal(outcome.calls, 0);
			}
			http_client_free(client);
			spin_ms(5);
		}
	}
	for (int which = 0; which < 3; which++) {
		struct http_client *client = new_client();

		server_set(&server, SERVER_BODY, 200, body, sizeof(body));
		outcome.cancel_in_data = which == 0;
		outcome.free_in_data = which == 1;
		outcome.free_in_done = which == 2;
		start(client, (struct http_request_options){ 0 }, &outcome);
		spin_ms(200);
		assert_int_equal(outcome.calls, which == 2);
		if (which == 0)
			http_client_free(client);
	}
	http_request_cancel(NULL);
	http_client_free(NULL);
	buf_done(&outcome.body);
}

/* ---- TLS: openssl plays the CA and the server ---- */

static int run(const char *dir, const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && { %s; } >/dev/null 2>&1", dir, command);
	return system(line);
}

static void test_tls(void **state)
{
	static const struct {
		const char *host;
		const char *ca; /* file name, NULL: the system's */
		bool insecure;
		int err;
	} cases[] = {
		{ "127.0.0.1", "right.pem", false, 0 },
		{ "127.0.0.1", "wrong.pem", false, -EKEYREJECTED },
		{ "127.0.0.1", NULL, false, -EKEYREJECTED },
		{ "localhost", "right.pem", false, -EKEYREJECTED }, /* not the certificate's name */
		{ "127.0.0.1", "missing.pem", false, -EKEYREJECTED },
		{ "127.0.0.1", "wrong.pem", true, 0 },
		{ "localhost", "wrong.pem", true, 0 },
		{ "127.0.0.1", "right.pem", false, 0 },
	};
	char dir[] = "/tmp/test_http_client.XXXXXX", command[512], port[16];
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	struct outcome outcome = { 0 };
	pid_t child;
	int fd;

	(void)state;
	if (system("command -v openssl >/dev/null 2>&1") != 0) {
		print_message("no openssl to make certificates with\n");
		skip();
	}
	assert_non_null(mkdtemp(dir));
	for (int i = 0; i < 2; i++) {
		snprintf(command, sizeof(command),
			 "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=%1$s -days 2 "
			 "-keyout %1$s.key -out %1$s.pem",
			 i > 0 ? "wrong" : "right");
		assert_int_equal(run(dir, command), 0);
	}
	assert_int_equal(
		run(dir,
		    "openssl req -newkey rsa:2048 -nodes -subj /CN=kubelet -keyout s.key -out s.csr && "
		    "echo subjectAltName=IP:127.0.0.1 >ext && "
		    "openssl x509 -req -in s.csr -CA right.pem -CAkey right.key -CAcreateserial "
		    "-days 2 -extfile ext -out s.pem && "
		    "printf 'HTTP/1.0 200 OK\\r\\n\\r\\nsecret' >pods"),
		0);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	close(fd);
	snprintf(port, sizeof(port), "%d", ntohs(address.sin_port));
	child = fork();
	if (child == 0) {
		int null = open("/dev/null", O_RDWR);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(60);
		if (chdir(dir) < 0)
			_exit(1);
		for (int i = 0; i < 3; i++)
			dup2(null, i);
		execlp("openssl", "openssl", "s_server", "-accept", port, "-cert", "s.pem", "-key",
		       "s.key", "-HTTP", NULL);
		_exit(1);
	}
	for (int i = 0; i < 100; i++) {
		bool up;

		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		up = connect(fd, (struct sockaddr *)&address, len) == 0;
		close(fd);
		if (up)
			break;
		usleep(50000);
	}
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct http_client *client = new_client();
		char url[64], ca[128];

		snprintf(url, sizeof(url), "https://%s:%s/pods", cases[i].host, port);
		snprintf(ca, sizeof(ca), "%s/%s", dir, cases[i].ca ? cases[i].ca : "");
		fetch(client,
		      (struct http_request_options){ .url = url,
						     .ca_file = cases[i].ca ? ca : NULL,
						     .insecure = cases[i].insecure },
		      &outcome);
		if (outcome.result.err != cases[i].err)
			fail_msg("%zu: %d, %s", i, outcome.result.err, outcome.result.error);
		if (cases[i].err == 0)
			assert_string_equal(outcome.body.data, "secret");
		else
			assert_int_equal(outcome.body.len, 0);
		http_client_free(client);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	buf_done(&outcome.body);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	(void)state;
	server_start(&server);
	return loop_new(&loop);
}

static int teardown(void **state)
{
	(void)state;
	server_stop(&server);
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),	  cmocka_unit_test(test_request),
		cmocka_unit_test(test_body_caps), cmocka_unit_test(test_token),
		cmocka_unit_test(test_urls),	  cmocka_unit_test(test_no_connection),
		cmocka_unit_test(test_cancel),	  cmocka_unit_test(test_slow_reader),
		cmocka_unit_test(test_tls),	  cmocka_unit_test(test_no_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
