/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are rendered anew each tick while slow clients still read an older one: versions,
 * counted by their readers, whose memory is used again.
 * Refuses: to be freed while a version is read (free the HTTP server first), threads.
 *
 * A version is one struct, so that a compressed form can lie beside the plain one.
 */
#ifndef PIDWARDEN_SHOW_HTTP_TEXT_H
#define PIDWARDEN_SHOW_HTTP_TEXT_H

#include <stdbool.h>

#include "base/buf.h"

struct http_text;
struct http_body;

/* @max: cap on one version in bytes, 0: none. */
int http_text_new(size_t max, struct http_text **ret_text);
void http_text_free(struct http_text *text);

/* The buffer for the next version, empty. NULL without memory. Nobody sees it until it is
 * published; to begin again discards it. */
struct buf *http_text_begin(struct http_text *text);
/* Makes it the current version. When rendering had failed the previous version stays, and the
 * buffer's error is returned. */
int http_text_publish(struct http_text *text);
/* Borrowed; NULL before the first version. */
struct http_body *http_text_current(struct http_text *text);

struct http_body *http_body_ref(struct http_body *body);
void http_body_unref(struct http_body *body);
const struct buf *http_body_plain(const struct http_body *body);
/*
 * So many newer versions exist that its readers are to be cut off: a client that takes a byte now
 * and then would otherwise keep one version per tick in memory.
 */
bool http_body_is_stale(const struct http_body *body);

#endif
