/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Prometheus text exposition (format 0.0.4), made from the descriptor table and a view.
 * Owns the memory it works in, so that a steady tick allocates nothing.
 * Refuses: HTTP, clocks, and two series with equal labels.
 *
 * Two rows whose labels come out equal become one series with the sum of both: a deleted pod and
 * its successor of the same StatefulSet name, two names that differ in broken bytes only. (A limit
 * shown for such a pair is the sum of both, and missing when either has none; of two node limits
 * with one name the tighter one stays.) A counter among them falls when the older one goes, which
 * Prometheus takes for a restart.
 */
#ifndef PIDWARDEN_SHOW_METRICS_H
#define PIDWARDEN_SHOW_METRICS_H

#include "base/buf.h"
#include "show/view.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

struct metrics;

int metrics_new(struct metrics **ret_metrics);
void metrics_free(struct metrics *metrics);

/* Appends everything but the age. 0, or -ENOMEM or the buffer's error; @out is then incomplete. */
int metrics_render(struct metrics *metrics, const struct view *view, struct buf *out);

/* Appends what changes between ticks: pidwarden_snapshot_age_seconds at @now_ms (monotonic).
 * Nothing before the first full snapshot. */
void metrics_render_age(struct buf *out, const struct snapshot *snapshot, int64_t now_ms);

/* Appends docs/metrics.md, and the shorter table that README.md has between these two lines. */
void metrics_write_doc(struct buf *out);
void metrics_write_table(struct buf *out);
#define METRICS_DOC_BEGIN "<!-- metrics:begin -->\n"
#define METRICS_DOC_END "<!-- metrics:end -->\n"

#endif
