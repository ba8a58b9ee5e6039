/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server in the event loop: libmicrohttpd with an epoll of its own and no thread,
 * so it answers on a node that has no PID left.
 * Refuses: to know any path but what its handler answers.
 */
#ifndef BUILDGEN_SERVE_H
#define BUILDGEN_SERVE_H

#include <stddef.h>

#include "base/buf.h"
#include "base/loop.h"

struct serve;

/* Larger bodies get 413. */
#define SERVE_BODY_MAX 65536

struct serve_request {
	const char *method;
	const char *path;
	const char *token; /* of "Authorization: Bearer", NULL: none */
	const char *body;
	size_t body_len;
};

/* Fills @answer with text or JSON (what begins with '{' is JSON) and returns the HTTP status. */
typedef unsigned int (*serve_fn)(const struct serve_request *request, struct buf *answer,
				 void *data);

/* @listen: "127.0.0.1:9918", "[::1]:9918"; port 0 takes a free one. -EINVAL: no such address. */
int serve_new(struct loop *loop, const char *listen, serve_fn fn, void *data,
	      struct serve **ret_serve);
void serve_free(struct serve *serve);
/* As bound: the port is never 0. */
const char *serve_address(const struct serve *serve);

#endif
