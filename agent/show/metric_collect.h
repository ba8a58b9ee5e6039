/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A view turned into the values of the metric table: scalars, and rows under their rendered labels
 * with equal ones made one.
 * Owns the memory of one round, kept for the next. Refuses: to know names, types or the text format
 * beyond the labels.
 */
#ifndef PIDWARDEN_SHOW_METRIC_COLLECT_H
#define PIDWARDEN_SHOW_METRIC_COLLECT_H

#include <stdint.h>

#include "base/buf.h"
#include "show/metric_table.h"
#include "show/view.h"

struct metric_series {
	size_t label_at, label_len; /* in metric_collect.labels, without braces */
	uint64_t hash;
	struct metric_row row;
};

struct metric_set {
	struct metric_series *series;
	size_t n, cap;
};

/* All zero to start with. */
struct metric_collect {
	struct buf labels;
	struct metric_scalars scalars;
	struct metric_set sets[METRIC_ROWS_N];
	/* Open addressing over one set at a time: index + 1 into it, 0 free. */
	size_t *slots;
	size_t n_slots;
};

void metric_collect_done(struct metric_collect *collect);
/* Replaces what the last round left. 0 or -ENOMEM. */
int metric_collect_view(struct metric_collect *collect, const struct view *view);

#endif
