// SPDX-License-Identifier: Apache-2.0
#include "show/surface.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "show/json_view.h"
#include "show/metrics.h"
#include "show/page.h"

/* 20,000 pods of 1 KiB of text thrice over; a guard against a runaway, not a budget. */
#define SURFACE_TEXT_MAX ((size_t)64 * 1024 * 1024)

struct surface {
	struct http_server *server;
	struct metrics *metrics;
	struct http_text *page, *metrics_text, *node_text, *pods_text, *ready_text;
	/* Of the snapshot shown: all that is needed between ticks. */
	uint64_t sequence;
	int64_t snapshot_mono_ms;
};

static void answer_page(struct http_answer *answer, void *data)
{
	struct surface *surface = data;

	answer->content_type = "text/html; charset=utf-8";
	answer->csp = page_csp;
	answer->body = http_text_current(surface->page);
}

static void answer_metrics(struct http_answer *answer, void *data)
{
	struct surface *surface = data;
	struct snapshot shown = {
		.sequence = surface->sequence,
		.mono_ms = surface->snapshot_mono_ms,
	};

	answer->content_type = METRICS_CONTENT_TYPE;
	answer->body = http_text_current(surface->metrics_text);
	metrics_render_age(&answer->tail, &shown, clock_mono_ms());
}

/* The loop turns, or this would not be answered: nothing else makes a restart useful. */
static void answer_healthz(struct http_answer *answer, void *data)
{
	(void)data;
	buf_str(&answer->tail, "ok\n");
}

static void answer_readyz(struct http_answer *answer, void *data)
{
	struct surface *surface = data;

	if (surface->sequence == 0) {
		answer->status = 503;
		buf_str(&answer->tail, "not ready: no full snapshot yet\n");
	}
	answer->body = http_text_current(surface->ready_text);
}

static void answer_json(struct http_answer *answer, const struct surface *surface,
			struct http_text *text)
{
	answer->content_type = JSON_VIEW_CONTENT_TYPE;
	answer->body = http_text_current(text);
	if (surface->sequence > 0 && answer->body)
		return;
	answer->status = 503;
	answer->body = NULL;
	json_view_error("no full snapshot yet", &answer->tail);
}

static void answer_node(struct http_answer *answer, void *data)
{
	struct surface *surface = data;

	answer_json(answer, surface, surface->node_text);
}

static void answer_pods(struct http_answer *answer, void *data)
{
	struct surface *surface = data;

	answer_json(answer, surface, surface->pods_text);
}

static const struct http_route routes[] = {
	{ "/", answer_page },
	{ "/metrics", answer_metrics },
	{ "/healthz", answer_healthz },
	{ "/readyz", answer_readyz },
	{ "/api/v1/node", answer_node },
	{ "/api/v1/pods", answer_pods },
};

static int page_load(struct surface *surface)
{
	struct buf *buf = http_text_begin(surface->page);

	if (!buf)
		return -ENOMEM;
	buf_add(buf, page_html, page_html_len);
	return http_text_publish(surface->page);
}

int surface_new(struct loop *loop, const struct http_listen *listen, struct surface **ret_surface)
{
	struct surface *surface = calloc(1, sizeof(*surface));
	struct http_server_config config = {
		.listen = *listen,
		.routes = routes,
		.n_routes = sizeof(routes) / sizeof(routes[0]),
		.data = surface,
	};
	struct http_text **texts[] = {
		&surface->page,	     &surface->metrics_text, &surface->node_text,
		&surface->pods_text, &surface->ready_text,
	};
	int err;

	if (!surface)
		return -ENOMEM;
	err = metrics_new(&surface->metrics);
	for (size_t i = 0; err == 0 && i < sizeof(texts) / sizeof(texts[0]); i++)
		err = http_text_new(SURFACE_TEXT_MAX, texts[i]);
	if (err == 0)
		err = page_load(surface);
	if (err == 0)
		err = http_server_new(loop, &config, &surface->server);
	if (err < 0) {
		surface_free(surface);
		return err;
	}
	*ret_surface = surface;
	return 0;
}

void surface_free(struct surface *surface)
{
	if (!surface)
		return;
	http_server_free(surface->server);
	http_text_free(surface->page);
	http_text_free(surface->metrics_text);
	http_text_free(surface->node_text);
	http_text_free(surface->pods_text);
	http_text_free(surface->ready_text);
	metrics_free(surface->metrics);
	free(surface);
}

uint16_t surface_port(const struct surface *surface)
{
	return http_server_port(surface->server);
}

static void add_time(struct buf *out, int64_t wall_ms)
{
	time_t seconds = wall_ms / 1000;
	char text[32];
	struct tm tm;

	if (gmtime_r(&seconds, &tm) && strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) > 0)
		buf_str(out, text);
}

/* What works and what does not, a line each, for whoever reads the probe's answer. */
static void render_ready(const struct view *view, struct buf *out)
{
	const struct source_state *kubelet = &view->snapshot->kubelet;

	if (view->snapshot->sequence > 0)
		buf_str(out, "ready\n");
	if (!kubelet->configured) {
		buf_str(out, "kubelet: not configured; cgroups are shown by their own names\n");
	} else if (kubelet->up) {
		buf_str(out, "kubelet: up\n");
	} else if (!kubelet->ever) {
		buf_str(out, "kubelet: unreachable, never reached so far");
		if (kubelet->error[0]) {
			buf_str(out, " (");
			buf_printable(out, kubelet->error);
			buf_char(out, ')');
		}
		buf_str(out, "; cgroups are shown by their own names\n");
	} else {
		buf_str(out, "kubelet: unreachable since ");
		add_time(out, kubelet->last_good_wall_ms);
		if (kubelet->error[0]) {
			buf_str(out, " (");
			buf_printable(out, kubelet->error);
			buf_char(out, ')');
		}
		buf_str(out,
			"; pods of the last good list keep their names, cgroups newer than it are "
			"shown by their own names\n");
	}
	if (view->snapshot->node.counting) {
		buf_str(out, "counters: up\n");
	} else {
		buf_str(out, "counters: none (");
		buf_printable(out, view->snapshot->bpf_error[0] ? view->snapshot->bpf_error :
								  "not loaded");
		buf_str(out, "); tasks are counted, created, exec and exit totals are missing\n");
	}
}

static int publish(struct http_text *text, const struct buf *buf, int err)
{
	if (!buf)
		return -ENOMEM;
	return err < 0 ? err : http_text_publish(text);
}

int surface_render(struct surface *surface, const struct view *view)
{
	int errs[4] = { 0 };
	struct buf *buf;

	buf = http_text_begin(surface->metrics_text);
	if (buf)
		errs[0] = metrics_render(surface->metrics, view, buf);
	errs[0] = publish(surface->metrics_text, buf, errs[0]);
	/* The age goes with the counts that are shown, so not when those stayed the old ones. */
	if (errs[0] == 0) {
		surface->sequence = view->snapshot->sequence;
		surface->snapshot_mono_ms = view->snapshot->mono_ms;
	}
	buf = http_text_begin(surface->node_text);
	if (buf)
		json_view_node(view, buf);
	errs[1] = publish(surface->node_text, buf, 0);
	buf = http_text_begin(surface->pods_text);
	if (buf)
		json_view_pods(view, buf);
	errs[2] = publish(surface->pods_text, buf, 0);
	buf = http_text_begin(surface->ready_text);
	if (buf)
		render_ready(view, buf);
	errs[3] = publish(surface->ready_text, buf, 0);
	for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
		if (errs[i] < 0)
			return errs[i];
	}
	return 0;
}
