/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON of /api/v1/node and /api/v1/pods, made from a view. docs/api.md documents every field;
 * names are a public interface.
 * Refuses: HTTP, clocks, parsing.
 */
#ifndef PIDWARDEN_SHOW_JSON_VIEW_H
#define PIDWARDEN_SHOW_JSON_VIEW_H

#include "base/buf.h"
#include "show/view.h"

#define JSON_VIEW_CONTENT_TYPE "application/json"

/* Each appends one JSON object and a newline; errors are kept in out->err. */
void json_view_node(const struct view *view, struct buf *out);
void json_view_pods(const struct view *view, struct buf *out);
/* {"error": @error}: what the API answers when it has nothing to show. */
void json_view_error(const char *error, struct buf *out);

#endif
