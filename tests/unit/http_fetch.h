/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of the HTTP client against the server of http_server.h, on a loop; and a pthread_create()
 * of the test's own, so that a thread asked for is a failed test.
 */
#ifndef PIDWARDEN_TESTS_HTTP_FETCH_H
#define PIDWARDEN_TESTS_HTTP_FETCH_H

#include "http_server.h"

#include <pthread.h>

#include "base/buf.h"
#include "base/clock.h"
#include "kube/http_client.h"

struct outcome {
	struct http_client *client;
	struct http_request *request;
	struct http_result result;
	struct buf body;
	int calls;
	int refuse; /* what on_data returns */
	bool cancel_in_data;
	bool free_in_data;
	bool free_in_done;
	int64_t slow_us; /* each piece takes this long */
};

static struct server server;
static struct loop *loop;
static int threads_wanted;

/* Stands before the C library's for all that is linked: a thread made and joined again between two
 * looks at /proc is seen too. What a node without a free PID answers is EAGAIN. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*fn)(void *), void *arg)
{
	(void)thread;
	(void)attr;
	(void)fn;
	(void)arg;
	threads_wanted++;
	return EAGAIN;
}

static inline int on_data(int status, const char *bytes, size_t len, void *data)
{
	struct outcome *outcome = data;

	assert_true(status >= 200);
	assert_true(len <= 16384);
	buf_add(&outcome->body, bytes, len);
	if (outcome->slow_us > 0)
		usleep((unsigned int)outcome->slow_us);
	if (outcome->cancel_in_data)
		http_request_cancel(outcome->request);
	if (outcome->free_in_data)
		http_client_free(outcome->client);
	return outcome->refuse;
}

static inline void on_done(const struct http_result *result, void *data)
{
	struct outcome *outcome = data;

	outcome->result = *result;
	outcome->calls++;
	if (outcome->free_in_done)
		http_client_free(outcome->client);
}

static inline void start(struct http_client *client, struct http_request_options options,
			 struct outcome *outcome)
{
	if (!options.url)
		options.url = server.url;
	if (options.timeout_ms == 0)
		options.timeout_ms = 5000;
	options.on_data = on_data;
	options.on_done = on_done;
	options.data = outcome;
	outcome->client = client;
	buf_reset(&outcome->body);
	outcome->calls = 0;
	assert_int_equal(http_client_start(client, &options, &outcome->request), 0);
	assert_int_equal(outcome->calls, 0);
}

static inline void spin_ms(int64_t ms)
{
	int64_t end = clock_mono_ms() + ms;

	while (clock_mono_ms() < end)
		assert_int_equal(loop_run_once(loop, 10), 0);
}

static inline void fetch(struct http_client *client, struct http_request_options options,
			 struct outcome *outcome)
{
	int64_t end = clock_mono_ms() + 15000;

	start(client, options, outcome);
	while (outcome->calls == 0 && clock_mono_ms() < end)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(outcome->calls, 1);
}

static inline struct http_client *new_client(void)
{
	struct http_client *client;

	assert_int_equal(http_client_new(loop, NULL, &client), 0);
	return client;
}

static inline void *no_thread(void *arg)
{
	return arg;
}

/* The last test: whatever ran before, nothing asked for a thread. */
static inline void test_no_threads(void **state)
{
	pthread_t thread;

	(void)state;
	assert_int_equal(threads_wanted, 0);
	assert_int_equal(pthread_create(&thread, NULL, no_thread, NULL), EAGAIN);
	assert_int_equal(threads_wanted, 1);
	assert_int_equal(self_status("Threads:"), 1);
}

#endif
