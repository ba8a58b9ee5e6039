// SPDX-License-Identifier: Apache-2.0
#include "show/metrics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "show/metric_table.h"

/* A row of values under its labels, which lie in metrics->labels without braces. */
struct series {
	size_t label_at, label_len;
	uint64_t hash;
	struct metric_row row;
};

struct series_set {
	struct series *series;
	size_t n, cap;
};

struct metrics {
	struct buf labels;
	struct series_set sets[METRIC_ROWS_N];
	/* Open addressing over one set at a time: index + 1 into it, 0 free. */
	size_t *slots;
	size_t n_slots;
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
	buf_done(&metrics->labels);
	for (size_t i = 0; i < METRIC_ROWS_N; i++)
		free(metrics->sets[i].series);
	free(metrics->slots);
	free(metrics);
}

/* A label's value as the format wants it; what is no UTF-8 would make Prometheus drop the scrape. */
static void label_value(struct buf *out, const char *str)
{
	size_t left = strlen(str), plain = 0;

	/* Nearly every name is plain: copied in one piece. (char is unsigned on arm64.) */
	while (plain < left && str[plain] >= ' ' && (unsigned char)str[plain] < 0x7f &&
	       str[plain] != '"' && str[plain] != '\\')
		plain++;
	buf_add(out, str, plain);
	str += plain;
	left -= plain;
	while (left > 0) {
		size_t n = utf8_sequence(str, left);

		if (n == 0) {
			buf_str(out, "\xef\xbf\xbd");
			n = 1;
		} else if (*str == '\n') {
			buf_str(out, "\\n");
		} else if (*str == '"' || *str == '\\') {
			buf_char(out, '\\');
			buf_char(out, *str);
		} else {
			buf_add(out, str, n);
		}
		str += n;
		left -= n;
	}
}

static void label(struct buf *out, const char *name, const char *value)
{
	if (out->len > 0 && out->data[out->len - 1] == '"')
		buf_char(out, ',');
	buf_str(out, name);
	buf_str(out, "=\"");
	label_value(out, value);
	buf_char(out, '"');
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

static double or_missing(uint64_t value)
{
	return value == LIMIT_NONE ? NAN : (double)value;
}

static void header(struct buf *out, const struct metric *metric)
{
	static const char *const types[] = { "gauge", "counter", "histogram" };

	buf_str(out, "# HELP ");
	buf_str(out, metric->name);
	buf_char(out, ' ');
	buf_str(out, metric->help);
	buf_str(out, "\n# TYPE ");
	buf_str(out, metric->name);
	buf_char(out, ' ');
	buf_str(out, types[metric->type]);
	buf_char(out, '\n');
}

static double value_at(const void *base, size_t offset)
{
	double value;

	memcpy(&value, (const char *)base + offset, sizeof(value));
	return value;
}

/* Rows. */

static int slots_prepare(struct metrics *metrics, size_t n_rows)
{
	size_t n = 64;

	while (n < n_rows * 2)
		n *= 2;
	if (n > metrics->n_slots) {
		size_t *slots = reallocarray(metrics->slots, n, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		metrics->slots = slots;
		metrics->n_slots = n;
	}
	memset(metrics->slots, 0, metrics->n_slots * sizeof(*metrics->slots));
	return 0;
}

/* Starts set @rows anew, for at most @n rows. */
static int set_begin(struct metrics *metrics, enum metric_rows rows, size_t n)
{
	struct series_set *set = &metrics->sets[rows];

	set->n = 0;
	if (n > set->cap) {
		struct series *series = reallocarray(set->series, n, sizeof(*series));

		if (!series)
			return -ENOMEM;
		set->series = series;
		set->cap = n;
	}
	return slots_prepare(metrics, n);
}

static uint64_t hash_bytes(const char *data, size_t len)
{
	uint64_t hash = 0xcbf29ce484222325; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)data[i]) * 0x100000001b3;
	return hash;
}

static void row_sum(struct metric_row *into, const struct metric_row *row)
{
	double *a = (double *)into;
	const double *b = (const double *)row;

	_Static_assert(sizeof(*row) % sizeof(double) == 0, "metric_row holds doubles only");
	for (size_t i = 0; i < sizeof(*row) / sizeof(double); i++)
		a[i] += b[i];
}

/* Adds @row under the labels appended to metrics->labels since @label_at. */
static void set_add(struct metrics *metrics, enum metric_rows rows, size_t label_at,
		    const struct metric_row *row)
{
	struct series_set *set = &metrics->sets[rows];
	const char *labels = metrics->labels.data + label_at;
	size_t len = metrics->labels.len - label_at, at;
	uint64_t hash;

	if (metrics->labels.err)
		return;
	hash = hash_bytes(labels, len);
	for (at = hash & (metrics->n_slots - 1); metrics->slots[at] > 0;
	     at = (at + 1) & (metrics->n_slots - 1)) {
		struct series *old = &set->series[metrics->slots[at] - 1];

		if (old->hash != hash || old->label_len != len ||
		    memcmp(metrics->labels.data + old->label_at, labels, len) != 0)
			continue;
		metrics->labels.len = label_at;
		if (rows != METRIC_LIMIT)
			row_sum(&old->row, row);
		else if (row->headroom < old->row.headroom)
			old->row = *row;
		return;
	}
	set->series[set->n] = (struct series){
		.label_at = label_at,
		.label_len = len,
		.hash = hash,
		.row = *row,
	};
	metrics->slots[at] = ++set->n;
	/* The next row's first label must not take this one's last quote for its own. */
	buf_char(&metrics->labels, '\0');
}

static void totals_row(struct metric_row *row, const struct task_totals *totals, bool counting)
{
	row->processes_created = counting ? (double)totals->processes_created : NAN;
	row->threads_created = counting ? (double)totals->threads_created : NAN;
	row->execs = counting ? (double)totals->execs : NAN;
	row->exits = counting ? (double)totals->exits : NAN;
}

static int collect_limits(struct metrics *metrics, const struct limit_set *limits)
{
	const struct limit *binding = limit_set_binding(limits);
	int err = set_begin(metrics, METRIC_LIMIT, limits->n);

	if (err < 0)
		return err;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];
		size_t at = metrics->labels.len;

		label(&metrics->labels, "limit", limit->name);
		set_add(metrics, METRIC_LIMIT, at,
			&(struct metric_row){
				.used = (double)limit->used,
				.max = (double)limit->max,
				.headroom = (double)limit_headroom(limit),
			});
	}
	err = set_begin(metrics, METRIC_BINDING, 1);
	if (err < 0)
		return err;
	if (binding) {
		size_t at = metrics->labels.len;

		label(&metrics->labels, "limit", binding->name);
		set_add(metrics, METRIC_BINDING, at, &(struct metric_row){ .count = 1 });
	}
	return 0;
}

static int collect_pods(struct metrics *metrics, const struct snapshot *snapshot)
{
	int err = set_begin(metrics, METRIC_POD, snapshot->n_pods);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_pods; i++) {
		const struct pod_row *pod = &snapshot->pods[i];
		struct metric_row row = {
			.tasks = (double)pod->tasks,
			.limit = or_missing(pod->limit),
		};
		size_t at = metrics->labels.len;

		totals_row(&row, &pod->totals, snapshot->node.counting);
		label(&metrics->labels, "namespace", pod->namespace);
		label(&metrics->labels, "pod", pod->name);
		label(&metrics->labels, "builder", pod->builder);
		set_add(metrics, METRIC_POD, at, &row);
	}
	return 0;
}

static int collect_containers(struct metrics *metrics, const struct snapshot *snapshot)
{
	int err = set_begin(metrics, METRIC_CONTAINER, snapshot->n_containers);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_containers; i++) {
		const struct container_row *container = &snapshot->containers[i];
		const struct pod_row *pod = &snapshot->pods[container->pod];
		size_t at = metrics->labels.len;

		label(&metrics->labels, "namespace", pod->namespace);
		label(&metrics->labels, "pod", pod->name);
		label(&metrics->labels, "container", container->name);
		label(&metrics->labels, "builder", pod->builder);
		set_add(metrics, METRIC_CONTAINER, at,
			&(struct metric_row){
				.tasks = (double)container->tasks,
				.limit = or_missing(container->limit),
			});
	}
	return 0;
}

static int collect_cgroups(struct metrics *metrics, const struct snapshot *snapshot)
{
	int err = set_begin(metrics, METRIC_CGROUP, snapshot->n_cgroups);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_cgroups; i++) {
		const struct cgroup_row *cgroup = &snapshot->cgroups[i];
		size_t at = metrics->labels.len;

		label(&metrics->labels, "cgroup", cgroup->path);
		set_add(metrics, METRIC_CGROUP, at,
			&(struct metric_row){
				.tasks = (double)cgroup->tasks,
				.limit = or_missing(cgroup->limit),
			});
	}
	return 0;
}

static int collect_own(struct metrics *metrics, const struct view *view)
{
	size_t n_results = 0;
	int err;

	for (size_t i = 0; i < view->n_levers; i++)
		n_results += view->levers[i].n_results;
	err = set_begin(metrics, METRIC_LEVER, n_results);
	for (size_t i = 0; err == 0 && i < view->n_levers; i++) {
		const struct view_lever *lever = &view->levers[i];

		for (size_t j = 0; j < lever->n_results; j++) {
			size_t at = metrics->labels.len;

			label(&metrics->labels, "lever", lever->name);
			label(&metrics->labels, "result", lever->results[j].name);
			set_add(metrics, METRIC_LEVER, at,
				&(struct metric_row){ .count = (double)lever->results[j].value });
		}
	}
	if (err == 0)
		err = set_begin(metrics, METRIC_PROGRAM, view->n_programs);
	for (size_t i = 0; err == 0 && i < view->n_programs; i++) {
		const struct view_program *program = &view->programs[i];
		size_t at = metrics->labels.len;

		label(&metrics->labels, "program", program->name);
		set_add(metrics, METRIC_PROGRAM, at,
			&(struct metric_row){
				.run_seconds = program->run_seconds,
				.runs = (double)program->runs,
				.recursion_misses = (double)program->recursion_misses,
			});
	}
	if (err == 0)
		err = set_begin(metrics, METRIC_LOST, view->n_lost_events);
	for (size_t i = 0; err == 0 && i < view->n_lost_events; i++) {
		size_t at = metrics->labels.len;

		label(&metrics->labels, "kind", view->lost_events[i].name);
		set_add(metrics, METRIC_LOST, at,
			&(struct metric_row){ .count = (double)view->lost_events[i].value });
	}
	return err;
}

/* Scalars. */

static void collect_node(struct metric_scalars *s, const struct snapshot *snapshot)
{
	const struct node_row *node = &snapshot->node;
	const struct limit *binding = limit_set_binding(&node->limits);
	struct metric_row totals;

	totals_row(&totals, &node->totals, node->counting);
	s->effective_headroom = binding ? (double)limit_headroom(binding) : NAN;
	s->limits_dropped = (double)node->limits.dropped;
	s->tasks = (double)node->tasks;
	s->pids_allocated = node->pids_allocated > 0 ? (double)node->pids_allocated : NAN;
	s->processes_created = totals.processes_created;
	s->threads_created = totals.threads_created;
	s->execs = totals.execs;
	s->exits = totals.exits;
	s->pods = (double)snapshot->n_pods;
	s->pods_unidentified = 0;
	for (size_t i = 0; i < snapshot->n_pods; i++)
		s->pods_unidentified += !snapshot->pods[i].known;
	s->pod_tasks = (double)node->pod_tasks;
	s->builds = (double)node->n_builds;
	s->build_tasks = (double)node->build_tasks;
	s->cgroups_folded = (double)snapshot->cgroups_folded;
	s->cgroups_folded_tasks = (double)snapshot->cgroups_folded_tasks;
	s->snapshot_time = (double)snapshot->wall_ms / 1000;
	s->tick_seconds = (double)snapshot->took_us / 1e6;
}

static void collect_agent(struct metric_scalars *s, const struct view *view)
{
	const struct source_state *kubelet = &view->snapshot->kubelet;
	const struct process_stats *process = &view->process;

	s->counting = view->snapshot->node.counting;
	s->snapshot_sequence = (double)view->snapshot->sequence;
	s->loop_longest = view->loop_longest_seconds;
	s->kubelet_up = kubelet->up;
	if (kubelet->last_good_wall_ms > 0)
		s->kubelet_last_success = (double)kubelet->last_good_wall_ms / 1000;
	s->kubelet_requests = (double)kubelet->requests;
	s->kubelet_failures = (double)kubelet->failures;
	s->kubelet_items_skipped = (double)kubelet->items_skipped;
	if (view->sentinel.running) {
		s->sentinel_realtime = view->sentinel.realtime;
		s->sentinel_wakeups = (double)view->sentinel.wakeups;
	}
	if (view->writer.running) {
		s->writer_queued = (double)view->writer.queued;
		s->writer_dropped = (double)view->writer.dropped;
	}
	s->cpu_seconds = process->cpu_seconds;
	s->resident_bytes = (double)process->resident_bytes;
	s->virtual_bytes = (double)process->virtual_bytes;
	s->max_virtual_bytes = or_missing(process->max_virtual_bytes);
	s->open_fds = (double)process->open_fds;
	s->max_fds = or_missing(process->max_fds);
	s->threads = (double)process->threads;
	s->start_seconds = process->start_seconds;
}

static void collect_decision(struct metric_scalars *s, const struct view *view)
{
	const struct policy_decision *decision = view->decision;

	if (decision) {
		s->level = decision->level;
		s->throttle_active = decision->throttle;
		if (decision->throttle)
			s->max_concurrent = (double)decision->max_concurrent;
		if (view->level_since_wall_ms > 0)
			s->level_since = (double)view->level_since_wall_ms / 1000;
	}
	if (view->forecast.known) {
		s->budget = (double)view->forecast.budget;
		s->expected_headroom = (double)view->forecast.expected_headroom;
		s->pids_per_build = (double)view->forecast.pids_per_build;
	}
}

static void collect_scalars(struct metric_scalars *s, const struct view *view)
{
	double *all = (double *)s;

	for (size_t i = 0; i < sizeof(*s) / sizeof(double); i++)
		all[i] = NAN;
	/* Before the first full snapshot zeros would say that the node is empty. */
	if (view->snapshot->sequence > 0)
		collect_node(s, view->snapshot);
	collect_agent(s, view);
	collect_decision(s, view);
}

/* Text. */

static void render_rows(const struct metrics *metrics, const struct metric *metric, struct buf *out)
{
	const struct series_set *set = &metrics->sets[metric->rows];
	size_t name_len = strlen(metric->name);
	bool begun = false;

	for (size_t i = 0; i < set->n; i++) {
		const struct series *series = &set->series[i];
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
		at = mempcpy(at, metrics->labels.data + series->label_at, series->label_len);
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

static void render_info(struct metrics *metrics, const struct metric *metric,
			const struct view *view, struct buf *out)
{
	const struct node_row *node = &view->snapshot->node;
	struct buf *labels = &metrics->labels;
	size_t at = labels->len;

	label(labels, "version", view->version);
	label(labels, "cgroup", node->cgroup_mode ? node->cgroup_mode : "");
	label(labels, "counting", node->counting ? "bpf" : "none");
	label(labels, "mode", view->mode);
	label(labels, "node", node->name);
	header(out, metric);
	buf_str(out, metric->name);
	buf_char(out, '{');
	if (labels->err == 0)
		buf_add(out, labels->data + at, labels->len - at);
	buf_str(out, "} 1\n");
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
	struct metric_scalars scalars;
	int err;

	buf_reset(&metrics->labels);
	err = collect_limits(metrics, &view->snapshot->node.limits);
	if (err == 0)
		err = collect_pods(metrics, view->snapshot);
	if (err == 0)
		err = collect_containers(metrics, view->snapshot);
	if (err == 0)
		err = collect_cgroups(metrics, view->snapshot);
	if (err == 0)
		err = collect_own(metrics, view);
	if (err == 0)
		err = metrics->labels.err;
	if (err < 0)
		return err;
	collect_scalars(&scalars, view);
	for (size_t i = 0; i < metric_table_n; i++) {
		const struct metric *metric = &metric_table[i];

		if (metric->type == METRIC_HISTOGRAM) {
			if (view->sentinel.running)
				render_histogram(metric, &view->sentinel.wakeup_seconds, out);
		} else if (metric->rows == METRIC_ONE) {
			render_one(metric, value_at(&scalars, metric->offset), out);
		} else if (metric->rows == METRIC_INFO) {
			render_info(metrics, metric, view, out);
		} else if (metric->rows != METRIC_AGE) {
			render_rows(metrics, metric, out);
		}
	}
	return metrics->labels.err ? metrics->labels.err : out->err;
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

void metrics_write_doc(struct buf *out)
{
	static const char *const types[] = { "gauge", "counter", "histogram" };

	buf_str(out,
		"# Metrics\n"
		"\n"
		"Made from the agent's descriptor table by `pidwarden --print-metrics-doc`; a unit test "
		"compares the two.\n"
		"The names and labels are a public interface.\n"
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

		buf_printf(out, "| `%s` | %s | %s | ", metric->name, types[metric->type],
			   metric->unit);
		for (const char *at = metric->labels; *at; at += strspn(at, ",")) {
			size_t len = strcspn(at, ",");

			buf_printf(out, "%s`%.*s`", at > metric->labels ? ", " : "", (int)len, at);
			at += len;
		}
		buf_printf(out, " | %s | %s |\n",
			   metric->cardinality[0] ? metric->cardinality : "1", metric->help);
	}
}
