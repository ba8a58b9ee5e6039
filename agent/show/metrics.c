// SPDX-License-Identifier: Apache-2.0
#include "show/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show/metric_collect.h"

static const char *const type_names[] = { "gauge", "counter", "histogram" };

struct metrics {
	struct metric_collect collect;
};

int metrics_new(struct metrics **ret_metrics)
{
	struct metrics *metrics = calloc(1, sizeof(*metrics));

	if (!metrics)
		return -ENOMEM;
	*ret_metrics = metrics;
	return 0;
}

void metrics_free(struct metrics *metrics)
{
	if (!metrics)
		return;
	metric_collect_done(&metrics->collect);
	free(metrics);
}

static void number(struct buf *out, double value)
{
	char text[32];

	if (fabs(value) < 9007199254740992.0 && value == (double)(int64_t)value) {
		if (value < 0)
			buf_char(out, '-');
		buf_u64(out, (uint64_t)fabs(value));
		return;
	}
	if (isinf(value)) {
		buf_str(out, value > 0 ? "+Inf" : "-Inf");
		return;
	}
	/* 17 digits always come back as the same double, 15 look better when they do too. */
	snprintf(text, sizeof(text), "%.15g", value);
	if (strtod(text, NULL) != value)
		snprintf(text, sizeof(text), "%.17g", value);
	buf_str(out, text);
}

static void header(struct buf *out, const struct metric *metric)
{
	buf_str(out, "# HELP ");
	buf_str(out, metric->name);
	buf_char(out, ' ');
	buf_str(out, metric->help);
	buf_str(out, "\n# TYPE ");
	buf_str(out, metric->name);
	buf_char(out, ' ');
	buf_str(out, type_names[metric->type]);
	buf_char(out, '\n');
}

static double value_at(const void *base, size_t offset)
{
	double value;

	memcpy(&value, (const char *)base + offset, sizeof(value));
	return value;
}

static void render_rows(const struct metric_collect *collect, const struct metric *metric,
			struct buf *out)
{
	const struct metric_set *set = &collect->sets[metric->rows];
	size_t name_len = strlen(metric->name);
	bool begun = false;

	for (size_t i = 0; i < set->n; i++) {
		const struct metric_series *series = &set->series[i];
		double value = value_at(&series->row, metric->offset);
		char *at;

		if (isnan(value))
			continue;
		if (!begun)
			header(out, metric);
		begun = true;
		/* Nearly all of the text is made here: one piece a line. */
		if (buf_reserve(out, name_len + series->label_len + 3) < 0)
			return;
		at = mempcpy(out->data + out->len, metric->name, name_len);
		*at++ = '{';
		at = mempcpy(at, collect->labels.data + series->label_at, series->label_len);
		*at++ = '}';
		*at++ = ' ';
		*at = '\0';
		out->len = (size_t)(at - out->data);
		number(out, value);
		buf_char(out, '\n');
	}
}

static void render_one(const struct metric *metric, double value, struct buf *out)
{
	if (isnan(value))
		return;
	header(out, metric);
	buf_str(out, metric->name);
	buf_char(out, ' ');
	number(out, value);
	buf_char(out, '\n');
}

static void render_histogram(const struct metric *metric, const struct view_histogram *histogram,
			     struct buf *out)
{
	uint64_t sum = 0;

	header(out, metric);
	for (size_t i = 0; i <= histogram->n_bounds; i++) {
		sum += histogram->counts[i];
		buf_str(out, metric->name);
		buf_str(out, "_bucket{le=\"");
		number(out, i < histogram->n_bounds ? histogram->bounds[i] : INFINITY);
		buf_str(out, "\"} ");
		buf_u64(out, sum);
		buf_char(out, '\n');
	}
	buf_str(out, metric->name);
	buf_str(out, "_sum ");
	number(out, histogram->sum);
	buf_char(out, '\n');
	buf_str(out, metric->name);
	buf_str(out, "_count ");
	buf_u64(out, sum);
	buf_char(out, '\n');
}

int metrics_render(struct metrics *metrics, const struct view *view, struct buf *out)
{
	const struct metric_collect *collect = &metrics->collect;
	int err = metric_collect_view(&metrics->collect, view);

	if (err < 0)
		return err;
	for (size_t i = 0; i < metric_table_n; i++) {
		const struct metric *metric = &metric_table[i];

		if (metric->type == METRIC_HISTOGRAM) {
			if (view->sentinel.running)
				render_histogram(metric, &view->sentinel.wakeup_seconds, out);
		} else if (metric->rows == METRIC_ONE) {
			render_one(metric, value_at(&collect->scalars, metric->offset), out);
		} else if (metric->rows != METRIC_AGE) {
			render_rows(collect, metric, out);
		}
	}
	return out->err;
}

void metrics_render_age(struct buf *out, const struct snapshot *snapshot, int64_t now_ms)
{
	if (snapshot->sequence == 0)
		return;
	for (size_t i = 0; i < metric_table_n; i++) {
		if (metric_table[i].rows == METRIC_AGE)
			render_one(&metric_table[i], (double)(now_ms - snapshot->mono_ms) / 1000,
				   out);
	}
}

static void write_labels(struct buf *out, const struct metric *metric)
{
	for (const char *at = metric->labels; *at; at += strspn(at, ",")) {
		size_t len = strcspn(at, ",");

		buf_printf(out, "%s`%.*s`", at > metric->labels ? ", " : "", (int)len, at);
		at += len;
	}
}

void metrics_write_doc(struct buf *out)
{
	buf_str(out,
		"# Metrics\n"
		"\n"
		"Made from the agent's descriptor table by `cmake --build --preset release --target docs`; "
		"a unit test\n"
		"compares the two."
		" The names and labels are a public interface.\n"
		"\n"
		"A metric without a value is left out, never shown as 0: no `pidwarden_pod_tasks_limit` "
		"means no limit, no created,\n"
		"exec and exit totals mean that the kernel's counters are missing "
		"(`pidwarden_bpf_counting 0`).\n"
		"\n"
		"Rows whose labels are equal are one series with the sum of them: a deleted pod and its "
		"successor of the same\n"
		"StatefulSet name. A limit is summed too, and left out when one of them has none. Bytes "
		"that are not UTF-8 are\n"
		"shown as U+FFFD. `builder` is empty for a pod that is no build; `namespace` is empty "
		"for a pod that the kubelet\n"
		"has not named, whose `pod` is then its cgroup's name.\n"
		"\n"
		"All values are of the last tick, except `pidwarden_snapshot_age_seconds`, which is of "
		"the scrape.\n"
		"\n"
		"| metric | type | unit | labels | series | meaning |\n"
		"|---|---|---|---|---|---|\n");
	for (size_t i = 0; i < metric_table_n; i++) {
		const struct metric *metric = &metric_table[i];

		buf_printf(out, "| `%s` | %s | %s | ", metric->name, type_names[metric->type],
			   metric->unit);
		write_labels(out, metric);
		buf_printf(out, " | %s | %s |\n",
			   metric->cardinality[0] ? metric->cardinality : "1", metric->help);
	}
}

void metrics_write_table(struct buf *out)
{
	buf_str(out, "| metric | labels | meaning |\n|---|---|---|\n");
	for (size_t i = 0; i < metric_table_n; i++) {
		const struct metric *metric = &metric_table[i];

		buf_printf(out, "| `%s` | ", metric->name);
		write_labels(out, metric);
		buf_printf(out, " | %s |\n", metric->help);
	}
}
