/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The read-only HTTP server: libmicrohttpd run by the agent's own loop, with no thread of its own,
 * so that it serves on when the node has no PID left.
 * Refuses: every method but GET and HEAD, request bodies, paths that are not in its table (compared
 * byte by byte, nothing is decoded or normalised), slow clients beyond their time.
 */
#ifndef PIDWARDEN_SHOW_HTTP_SERVER_H
#define PIDWARDEN_SHOW_HTTP_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/loop.h"
#include "show/http_listen.h"
#include "show/http_text.h"

struct http_server;

/* Filled by a route. As passed: status 200, text/plain, no body, empty tail. */
struct http_answer {
	unsigned int status;
	const char *content_type; /* static text */
	const char *csp; /* Content-Security-Policy; NULL: nothing may be loaded or run */
	struct http_body *body; /* served from memory; the server takes its own reference */
	struct buf tail; /* follows the body; made for this request */
};

typedef void (*http_answer_fn)(struct http_answer *answer, void *data);

struct http_route {
	const char *path;
	http_answer_fn answer;
};

struct http_server_config {
	struct http_listen listen;
	const struct http_route *routes; /* must outlive the server */
	size_t n_routes;
	void *data; /* handed to every route */
	/* 0: the defaults, 15 s without a byte and 60 s for one request with its answer. */
	unsigned int idle_seconds;
	int64_t request_ms;
};

/*
 * At most 256 connections, 64 from one address, loopback like any other: a tool that leaks
 * connections on the node must not shut out the probe beside it.
 * 0, what opening the socket gave, -ENOMEM, or -EIO when libmicrohttpd would not start.
 */
int http_server_new(struct loop *loop, const struct http_server_config *config,
		    struct http_server **ret_server);
/* Closes every connection. Before the texts that it serves are freed, and before the loop is. */
void http_server_free(struct http_server *server);
/* The port it listens on, also when 0 was asked for. */
uint16_t http_server_port(const struct http_server *server);
size_t http_server_connections(const struct http_server *server);

#endif
