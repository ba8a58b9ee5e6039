/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP surface put together: which path answers what, rendered once a tick and served from
 * memory.
 * Refuses: to know where the figures come from; the agent fills a view.
 */
#ifndef PIDWARDEN_SHOW_SURFACE_H
#define PIDWARDEN_SHOW_SURFACE_H

#include "base/loop.h"
#include "show/http_server.h"
#include "show/view.h"

struct surface;

/* Serves at once: until the first surface_render() /readyz and the API answer 503 and /metrics has
 * nothing. Errors as http_server_new(). */
int surface_new(struct loop *loop, const struct http_listen *listen, struct surface **ret_surface);
void surface_free(struct surface *surface);
uint16_t surface_port(const struct surface *surface);

/*
 * Renders every text from @view. When one fails the old one is served on. 0, or the first -errno;
 * -EFBIG means that a text hit its cap of 64 MiB. Call it before the first full snapshot too
 * (sequence 0): /metrics then has the agent's own figures.
 */
int surface_render(struct surface *surface, const struct view *view);

#endif
