// SPDX-License-Identifier: Apache-2.0
#include "kube/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "kube/http_error.h"
#include "kube/http_token.h"
#include "kube/http_url.h"
#include "kube/resolver.h"

#define DEFAULT_CONNECT_TIMEOUT_MS 2000
#define DEFAULT_MAX_BODY_BYTES (1u << 20)
#define BUFFER_BYTES 16384L
/* libcurl reads up to 100 buffers for one socket event: with 19,000 JSON values in each 38 kB of a
 * hostile list that held the loop up for 334 ms. After this long the transfer is paused until the
 * next round. */
#define BUSY_MAX_NS (5 * 1000 * 1000)
#define HEADER_BYTES_MAX (64u << 10)
#define RETRY_AFTER_MAX_S 3600
#define IDLE_HANDLES 4
#define CONNECTIONS_KEPT 8L

enum request_state {
	REQUEST_NEW, /* begins in the next round */
	REQUEST_RESOLVING,
	REQUEST_RUNNING, /* libcurl has it */
};

struct http_request {
	struct http_client *client;
	struct http_request *next;
	enum request_state state;
	bool cancelled;
	bool paused;
	/* Begins it; then the deadline while a name is resolved; then the end of a pause. */
	struct loop_timer *timer;
	int64_t deadline_ms; /* monotonic, 0: none */
	struct http_request_options options; /* texts below */
	char *method, *body, *token_file, *ca_file;
	struct curl_slist *headers; /* the caller's */

	CURL *easy;
	struct curl_slist *sent_headers, *resolve;
	struct http_url where;
	char curl_error[CURL_ERROR_SIZE];
	size_t header_bytes;
	size_t body_bytes;
	int data_err; /* on_data's, or the cap's */
};

struct http_client {
	struct loop *loop;
	CURLM *multi;
	struct loop_timer *timer; /* libcurl's */
	struct resolver *resolver;
	struct http_request *requests;
	CURL *idle[IDLE_HANDLES];
	size_t n_idle;
	struct http_client_stats stats;
	unsigned int depth; /* calls into libcurl or to a callback under way */
	int64_t entered_ns; /* when the outermost of them began */
	bool delivered; /* part of a body since then */
	bool dead; /* freed when depth is back to 0 */
};

/* ---- the life of a request ---- */

static void headers_free(struct curl_slist *headers)
{
	/* The token among them is not left in freed memory. */
	for (struct curl_slist *at = headers; at; at = at->next)
		explicit_bzero(at->data, strlen(at->data));
	curl_slist_free_all(headers);
}

static void easy_release(struct http_client *client, CURL *easy)
{
	if (!easy)
		return;
	curl_easy_reset(easy);
	if (client->n_idle < IDLE_HANDLES)
		client->idle[client->n_idle++] = easy;
	else
		curl_easy_cleanup(easy);
}

/* Never from inside a libcurl callback: it would refuse to let the handle go. */
static void request_free(struct http_request *request)
{
	struct http_client *client = request->client;

	for (struct http_request **at = &client->requests; *at; at = &(*at)->next) {
		if (*at == request) {
			*at = request->next;
			break;
		}
	}
	if (request->easy && request->state == REQUEST_RUNNING)
		curl_multi_remove_handle(client->multi, request->easy);
	easy_release(client, request->easy);
	loop_timer_free(request->timer);
	headers_free(request->sent_headers);
	headers_free(request->headers);
	curl_slist_free_all(request->resolve);
	free(request->method);
	http_url_done(&request->where);
	free(request->body);
	free(request->token_file);
	free(request->ca_file);
	free(request);
}

static void client_destroy(struct http_client *client)
{
	while (client->requests)
		request_free(client->requests);
	resolver_free(client->resolver);
	if (client->multi)
		curl_multi_cleanup(client->multi);
	for (size_t i = 0; i < client->n_idle; i++)
		curl_easy_cleanup(client->idle[i]);
	loop_timer_free(client->timer);
	free(client);
	curl_global_cleanup();
}

static void client_enter(struct http_client *client)
{
	if (client->depth++ > 0)
		return;
	client->entered_ns = clock_mono_ns();
	client->delivered = false;
}

/* Does what had to wait until no callback was under way. False: the client is gone. */
static bool client_leave(struct http_client *client)
{
	struct http_request *request, *next;

	if (--client->depth > 0)
		return true;
	if (client->dead) {
		client_destroy(client);
		return false;
	}
	for (request = client->requests; request; request = next) {
		next = request->next;
		if (request->cancelled)
			request_free(request);
	}
	return true;
}

/* Tells the caller and frees the request. Not from inside a libcurl callback. */
static void request_done(struct http_request *request, const struct http_result *result)
{
	struct http_client *client = request->client;
	http_done_fn on_done = request->options.on_done;
	void *data = request->options.data;
	bool cancelled = request->cancelled;

	client->stats.body_bytes += request->body_bytes;
	request_free(request);
	if (cancelled)
		return;
	client->stats.requests++;
	if (result->err < 0)
		client->stats.failures++;
	if (on_done)
		on_done(result, data);
}

static void __attribute__((format(printf, 3, 4)))
request_fail(struct http_request *request, int err, const char *fmt, ...)
{
	struct http_result result = { .err = err, .retry_after_ms = -1 };
	va_list args;

	va_start(args, fmt);
	vsnprintf(result.error, sizeof(result.error), fmt, args);
	va_end(args);
	request_done(request, &result);
}

/* libcurl is through with it. */
static void request_finished(struct http_request *request, CURLcode code)
{
	struct http_client *client = request->client;
	struct http_result result = { .retry_after_ms = -1, .body_bytes = request->body_bytes };
	curl_off_t retry_after_s = 0;
	long status = 0, connects = 0;

	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(request->easy, CURLINFO_NUM_CONNECTS, &connects);
	curl_easy_getinfo(request->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	client->stats.connections += (uint64_t)connects;
	result.status = (int)status;
	if (retry_after_s > 0)
		result.retry_after_ms =
			1000 *
			(retry_after_s < RETRY_AFTER_MAX_S ? retry_after_s : RETRY_AFTER_MAX_S);
	if (code != CURLE_OK) {
		const struct http_failure failure = {
			.code = code,
			.easy = request->easy,
			.detail = request->curl_error,
			.where = &request->where,
			.ca_file = request->ca_file,
			.timeout_ms = request->options.timeout_ms,
			.max_body_bytes = request->options.max_body_bytes,
			.header_too_long = request->header_bytes > HEADER_BYTES_MAX,
			.body_too_long = request->body_bytes > request->options.max_body_bytes,
			.data_err = request->data_err,
		};

		http_error_describe(&failure, &result);
	}
	if ((result.err == -ECONNREFUSED || result.err == -ETIMEDOUT) && !request->where.literal)
		resolver_suspect(client->resolver, request->where.host);
	request_done(request, &result);
}

static void client_reap(struct http_client *client)
{
	CURLMsg *message;
	int left;

	while (!client->dead && (message = curl_multi_info_read(client->multi, &left))) {
		CURLcode code = message->data.result;
		struct http_request *request = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&request);
		request_finished(request, code);
	}
}

static void client_action(struct http_client *client, curl_socket_t fd, int events)
{
	int running;

	client_enter(client);
	curl_multi_socket_action(client->multi, fd, events, &running);
	client_reap(client);
	client_leave(client);
}

/* ---- what libcurl calls ---- */

static void socket_event(struct loop *loop, int fd, uint32_t events, void *data)
{
	int flags = 0;

	(void)loop;
	if (events & EPOLLIN)
		flags |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		flags |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		flags |= CURL_CSELECT_ERR;
	client_action(data, fd, flags);
}

static void timer_event(struct loop *loop, void *data)
{
	(void)loop;
	client_action(data, CURL_SOCKET_TIMEOUT, 0);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct http_client *client = data;
	uint32_t events = 0;

	(void)easy;
	(void)socket_data;
	if (what == CURL_POLL_REMOVE) {
		loop_remove_fd(client->loop, fd);
		return 0;
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		events |= EPOLLOUT;
	/* Unwatched for want of memory, it times out; an error here would end the whole multi. */
	if (loop_modify_fd(client->loop, fd, events) == -ENOENT)
		loop_add_fd(client->loop, fd, events, socket_event, client);
	return 0;
}

/* libcurl closes some sockets without CURL_POLL_REMOVE; the number may be another's at once. */
static int on_close(void *data, curl_socket_t fd)
{
	struct http_client *client = data;

	loop_remove_fd(client->loop, fd);
	return close(fd);
}

static int on_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct http_client *client = data;

	(void)multi;
	if (timeout_ms < 0)
		loop_timer_stop(client->timer);
	else
		loop_timer_set(client->timer, timeout_ms);
	return 0;
}

static size_t on_header(char *bytes, size_t size, size_t n, void *data)
{
	struct http_request *request = data;

	(void)bytes;
	request->header_bytes += size * n;
	return request->header_bytes > HEADER_BYTES_MAX || request->cancelled ? 0 : size * n;
}

static size_t on_body(char *bytes, size_t size, size_t n, void *data)
{
	struct http_request *request = data;
	struct http_client *client = request->client;
	size_t len = size * n;
	long status = 0;

	if (request->cancelled)
		return 0;
	if (client->delivered && clock_mono_ns() - client->entered_ns > BUSY_MAX_NS) {
		request->paused = true;
		loop_timer_set(request->timer, 0);
		return CURL_WRITEFUNC_PAUSE; /* libcurl gives the same piece again */
	}
	client->delivered = true;
	request->body_bytes += len;
	if (request->body_bytes > request->options.max_body_bytes) {
		request->data_err = -EFBIG;
		return 0;
	}
	if (!request->options.on_data)
		return len;
	curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &status);
	request->data_err =
		request->options.on_data((int)status, bytes, len, request->options.data);
	return request->data_err < 0 || request->cancelled ? 0 : len;
}

/* Called before libcurl would resolve a name. With CURLOPT_RESOLVE it never has to; should it ever
 * try, this request fails instead of a thread being made. */
static int on_resolver_start(void *resolver, void *reserved, void *data)
{
	(void)resolver;
	(void)reserved;
	(void)data;
	return 1;
}

/* ---- setting a request up ---- */

static int add_header(struct http_request *request, const char *header)
{
	struct curl_slist *grown = curl_slist_append(request->sent_headers, header);

	if (!grown)
		return -ENOMEM;
	request->sent_headers = grown;
	return 0;
}

/* 0, or an error that the caller has been told: the request is gone then. */
static int add_token(struct http_request *request)
{
	char header[HTTP_TOKEN_HEADER_MAX];
	const char *error;
	int err;

	err = http_token_header(request->token_file, header, sizeof(header), &error);
	if (err < 0)
		request_fail(request, err, "the token file %s cannot be used: %s",
			     request->token_file, error);
	else if (add_header(request, header) < 0)
		request_fail(request, err = -ENOMEM, "no memory for a token");
	explicit_bzero(header, sizeof(header));
	return err;
}

static int set_resolve(struct http_request *request, const char *addresses)
{
	char entry[RESOLVER_HOST_MAX + RESOLVER_ADDRESSES_MAX + 16];

	/* Without a leading '+' the entry never expires. It replaces that of an earlier request. */
	snprintf(entry, sizeof(entry), "%s:%s:%s", request->where.host, request->where.port,
		 addresses);
	request->resolve = curl_slist_append(NULL, entry);
	return request->resolve ? 0 : -ENOMEM;
}

/* False: libcurl did not take an option, which means no memory. */
static bool set_options(struct http_request *request, int64_t left_ms)
{
	const struct http_request_options *options = &request->options;
	struct http_client *client = request->client;
	CURL *easy = request->easy;
	long connect_ms = (long)options->connect_timeout_ms;
	bool ok = true;

#define SET(option, value) (ok = ok && curl_easy_setopt(easy, option, value) == CURLE_OK)
	SET(CURLOPT_URL, request->where.text);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_FOLLOWLOCATION, 0L);
	SET(CURLOPT_PROXY, "");
	SET(CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_NOPROGRESS, 1L);
	SET(CURLOPT_TCP_KEEPALIVE, 1L);
	SET(CURLOPT_BUFFERSIZE, BUFFER_BYTES);
	/* HTTP/2 would save nothing for one request at a time, and costs memory for its windows. */
	SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	SET(CURLOPT_USERAGENT, "pidwarden");
	SET(CURLOPT_HTTPHEADER, request->sent_headers);
	SET(CURLOPT_CONNECTTIMEOUT_MS,
	    left_ms > 0 && left_ms < connect_ms ? (long)left_ms : connect_ms);
	SET(CURLOPT_TIMEOUT_MS, (long)left_ms);
	SET(CURLOPT_ERRORBUFFER, request->curl_error);
	SET(CURLOPT_PRIVATE, request);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, request);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, request);
	SET(CURLOPT_CLOSESOCKETFUNCTION, on_close);
	SET(CURLOPT_CLOSESOCKETDATA, client);
	if (!request->where.literal) {
		SET(CURLOPT_RESOLVE, request->resolve);
		SET(CURLOPT_RESOLVER_START_FUNCTION, on_resolver_start);
	}
	if (request->body) {
		SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)options->body_len);
		SET(CURLOPT_POSTFIELDS, request->body);
	}
	if (request->method)
		SET(CURLOPT_CUSTOMREQUEST, request->method);
	if (request->ca_file) {
		SET(CURLOPT_CAINFO, request->ca_file);
		/* Debian's default directory would be trusted beside it. */
		SET(CURLOPT_CAPATH, NULL);
	}
	if (options->insecure) {
		SET(CURLOPT_SSL_VERIFYPEER, 0L);
		SET(CURLOPT_SSL_VERIFYHOST, 0L);
	}
#undef SET
	return ok;
}

static int request_prepare(struct http_request *request)
{
	struct http_client *client = request->client;

	for (struct curl_slist *at = request->headers; at; at = at->next) {
		if (add_header(request, at->data) < 0)
			return -ENOMEM;
	}
	/* libcurl would wait a second for "100 Continue" before a body. */
	if (request->body && add_header(request, "Expect:") < 0)
		return -ENOMEM;
	request->easy = client->n_idle > 0 ? client->idle[--client->n_idle] : curl_easy_init();
	return request->easy ? 0 : -ENOMEM;
}

/* What is left of the request's time, 0: no bound, negative: none left. */
static int64_t time_left_ms(const struct http_request *request)
{
	int64_t left;

	if (request->deadline_ms == 0)
		return 0;
	left = request->deadline_ms - loop_now_ms(request->client->loop);
	return left > 0 ? left : -1;
}

/* Hands it to libcurl, its addresses being known. */
static void request_run(struct http_request *request, const char *addresses)
{
	int64_t left_ms = time_left_ms(request);
	int err = 0;

	loop_timer_stop(request->timer);
	if (left_ms < 0) {
		request_fail(request, -ETIMEDOUT, "%s was resolved too late", request->where.host);
		return;
	}
	if (request->token_file) {
		err = add_token(request);
		if (err < 0)
			return;
	}
	if (addresses)
		err = set_resolve(request, addresses);
	if (err == 0)
		err = request_prepare(request);
	if (err < 0 || !set_options(request, left_ms) ||
	    curl_multi_add_handle(request->client->multi, request->easy) != CURLM_OK) {
		request_fail(request, -ENOMEM, "no memory for a request to %s",
			     request->where.host);
		return;
	}
	request->state = REQUEST_RUNNING;
}

static void request_begin(struct http_request *request)
{
	const char *error = "", *addresses = NULL;
	int64_t left_ms;
	int err;

	err = http_url_parse(&request->where, &error);
	if (err < 0) {
		request_fail(request, err, "the URL %.100s cannot be used: %s", request->where.text,
			     error);
		return;
	}
	if (request->token_file && !request->where.secure && !request->where.loopback) {
		request_fail(
			request, -EINVAL,
			"the token is not sent over http:// to %s: anybody could read it there",
			request->where.host);
		return;
	}
	if (!request->where.literal)
		err = resolver_get(request->client->resolver, request->where.host, &addresses);
	if (err == -EINPROGRESS) {
		request->state = REQUEST_RESOLVING;
		left_ms = time_left_ms(request);
		/* Without a bound of its own it waits for the resolver's. */
		if (left_ms != 0)
			loop_timer_set(request->timer, left_ms);
		return;
	}
	if (err < 0)
		request_fail(request, err, "%s cannot be resolved: %s", request->where.host,
			     err == -EINVAL ? "not a host name" : strerror(-err));
	else
		request_run(request, addresses);
}

static void request_resume(struct http_request *request)
{
	struct http_client *client = request->client;

	request->paused = false;
	/* May call on_data; what comes of it is in the messages. */
	curl_easy_pause(request->easy, CURLPAUSE_CONT);
	client_reap(client);
}

static void request_timer(struct loop *loop, void *data)
{
	struct http_request *request = data;
	struct http_client *client = request->client;

	(void)loop;
	client_enter(client);
	if (request->cancelled)
		; /* freed below */
	else if (request->state == REQUEST_NEW)
		request_begin(request);
	else if (request->state == REQUEST_RESOLVING)
		request_fail(request, -ETIMEDOUT, "%s was not resolved in time",
			     request->where.host);
	else if (request->paused)
		request_resume(request);
	client_leave(client);
}

static void on_answer(const char *host, int err, const char *error, void *data)
{
	struct http_client *client = data;
	struct http_request *request;

	client_enter(client);
	do {
		/* From the head each time: any callback may change the list. */
		for (request = client->requests; request; request = request->next) {
			if (request->state == REQUEST_RESOLVING && !request->cancelled &&
			    strcasecmp(request->where.host, host) == 0)
				break;
		}
		if (request) {
			const char *addresses = NULL;

			request->state = REQUEST_NEW;
			if (err == 0)
				err = resolver_get(client->resolver, host, &addresses);
			if (err < 0)
				request_fail(request, err, "%s: %s", host, error);
			else
				request_run(request, addresses);
		}
	} while (request && !client->dead);
	client_leave(client);
}

/* ---- the interface ---- */

static int copy_text(const char *text, char **ret_copy)
{
	if (!text)
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static int copy_options(struct http_request *request, const struct http_request_options *options)
{
	request->options = *options;
	if (request->options.connect_timeout_ms <= 0)
		request->options.connect_timeout_ms = DEFAULT_CONNECT_TIMEOUT_MS;
	if (request->options.max_body_bytes == 0)
		request->options.max_body_bytes = DEFAULT_MAX_BODY_BYTES;
	if (copy_text(options->method, &request->method) < 0 ||
	    copy_text(options->url, &request->where.text) < 0 ||
	    copy_text(options->token_file, &request->token_file) < 0 ||
	    copy_text(options->ca_file, &request->ca_file) < 0)
		return -ENOMEM;
	for (const char *const *header = options->headers; header && *header; header++) {
		struct curl_slist *grown = curl_slist_append(request->headers, *header);

		if (!grown)
			return -ENOMEM;
		request->headers = grown;
	}
	if (options->body) {
		request->body = malloc(options->body_len + 1);
		if (!request->body)
			return -ENOMEM;
		memcpy(request->body, options->body, options->body_len);
	}
	return 0;
}

int http_client_start(struct http_client *client, const struct http_request_options *options,
		      struct http_request **ret_request)
{
	struct http_request *request = calloc(1, sizeof(*request));
	int err;

	if (!request)
		return -ENOMEM;
	request->client = client;
	err = copy_options(request, options);
	if (err == 0)
		err = loop_timer_new(client->loop, request_timer, request, &request->timer);
	if (err < 0) {
		request_free(request);
		return err;
	}
	if (options->timeout_ms > 0)
		request->deadline_ms = loop_now_ms(client->loop) + options->timeout_ms;
	request->next = client->requests;
	client->requests = request;
	loop_timer_set(request->timer, 0);
	if (ret_request)
		*ret_request = request;
	return 0;
}

void http_request_cancel(struct http_request *request)
{
	if (!request)
		return;
	request->cancelled = true;
	if (request->client->depth == 0)
		request_free(request);
}

int http_client_new(struct loop *loop, const struct http_client_options *options,
		    struct http_client **ret_client)
{
	struct http_client *client;
	struct resolver_options resolver = { .on_answer = on_answer };
	int err;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return -EIO;
	client = calloc(1, sizeof(*client));
	if (!client) {
		curl_global_cleanup();
		return -ENOMEM;
	}
	client->loop = loop;
	if (options) {
		resolver.servers = options->dns_servers;
		resolver.refresh_ms = options->dns_refresh_ms;
	}
	resolver.data = client;
	client->multi = curl_multi_init();
	err = client->multi ? 0 : -ENOMEM;
	if (err == 0)
		err = loop_timer_new(loop, timer_event, client, &client->timer);
	if (err == 0)
		err = resolver_new(loop, &resolver, &client->resolver);
	if (err < 0) {
		client_destroy(client);
		return err;
	}
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timer);
	curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
	curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
	*ret_client = client;
	return 0;
}

void http_client_free(struct http_client *client)
{
	if (!client)
		return;
	for (struct http_request *request = client->requests; request; request = request->next)
		request->cancelled = true;
	client->dead = true;
	if (client->depth == 0)
		client_destroy(client);
}

void http_client_stats(const struct http_client *client, struct http_client_stats *ret_stats)
{
	const struct resolver_stats *resolver = resolver_stats(client->resolver);

	*ret_stats = client->stats;
	ret_stats->dns_queries = resolver->queries;
	ret_stats->dns_failures = resolver->failures;
	ret_stats->dns_stale_answers = resolver->stale_answers;
}
