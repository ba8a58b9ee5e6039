/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP and HTTPS requests on the loop: libcurl's multi interface, fed with addresses only.
 * Refuses: to block, to make a thread, to follow a redirect, to ask the environment for a proxy or
 * a netrc, to keep a body (the caller takes it piece by piece), to send a token in clear text to
 * another machine.
 */
#ifndef PIDWARDEN_KUBE_HTTP_CLIENT_H
#define PIDWARDEN_KUBE_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

struct http_client;
struct http_request;

struct http_client_options {
	const char *dns_servers; /* as resolver_options.servers; NULL: the system's */
	int64_t dns_refresh_ms; /* 0: as resolver_options */
};

struct http_client_stats {
	uint64_t requests; /* that were answered or failed; cancelled ones do not count */
	uint64_t failures; /* without a whole answer; a status of 500 is an answer */
	uint64_t connections;
	uint64_t body_bytes;
	uint64_t dns_queries;
	uint64_t dns_failures;
	uint64_t dns_stale_answers;
};

struct http_result {
	/*
	 * 0: an answer came whole, whatever its status. Else -ECONNREFUSED (no connection for
	 * whatever reason), -ETIMEDOUT, -ECONNRESET (closed before the end), -EHOSTUNREACH (name),
	 * -EKEYREJECTED (certificate), -EFBIG (body cap), what on_data returned, -EINVAL (URL), what
	 * reading the token gave, or -EIO.
	 */
	int err;
	int status; /* HTTP, 0: none came */
	size_t body_bytes;
	int64_t retry_after_ms; /* -1: not said */
	char error[256]; /* one sentence for an operator; "" for an answer */
};

/* A piece of the body, at most 16 kB. A negative errno gives the request up with it. */
typedef int (*http_data_fn)(int status, const char *bytes, size_t len, void *data);
/* The last call for a request, which is gone when this returns. */
typedef void (*http_done_fn)(const struct http_result *result, void *data);

struct http_request_options {
	const char *method; /* NULL: GET */
	const char *url; /* http:// or https://, without user and password */
	const char *const *headers; /* "Name: value", ends with NULL; may be NULL */
	const void *body;
	size_t body_len;
	const char *token_file; /* read for each request: projected tokens change; NULL: none */
	const char *ca_file; /* then nothing else is trusted; NULL: the system's authorities */
	bool insecure; /* takes any certificate */
	int64_t connect_timeout_ms; /* TLS included; 0: 2 s */
	int64_t timeout_ms; /* of the whole request, names included; 0: none (a watch) */
	size_t max_body_bytes; /* 0: 1 MiB */
	http_data_fn on_data; /* may be NULL */
	http_done_fn on_done;
	void *data;
};

/* @options may be NULL. 0, -ENOMEM or -EIO. */
int http_client_new(struct loop *loop, const struct http_client_options *options,
		    struct http_client **ret_client);
/* Cancels what runs. May be called from any callback; before the loop is freed. */
void http_client_free(struct http_client *client);

/*
 * 0: on_done will be called once, never from within this call, with every failure there is.
 * -ENOMEM: it will not. @options and all it points to are copied. @ret_request may be NULL.
 */
int http_client_start(struct http_client *client, const struct http_request_options *options,
		      struct http_request **ret_request);
/* Neither on_data nor on_done is called any more. From any callback; not after on_done; NULL is
 * ignored. */
void http_request_cancel(struct http_request *request);

void http_client_stats(const struct http_client *client, struct http_client_stats *ret_stats);

#endif
