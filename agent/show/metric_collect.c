// SPDX-License-Identifier: Apache-2.0
#include "show/metric_collect.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

static double or_missing(uint64_t value)
{
	return value == LIMIT_NONE ? NAN : (double)value;
}

static int slots_prepare(struct metric_collect *collect, size_t n_rows)
{
	size_t n = 64;

	while (n < n_rows * 2)
		n *= 2;
	if (n > collect->n_slots) {
		size_t *slots = reallocarray(collect->slots, n, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		collect->slots = slots;
		collect->n_slots = n;
	}
	memset(collect->slots, 0, collect->n_slots * sizeof(*collect->slots));
	return 0;
}

/* Starts set @rows anew, for at most @n rows. */
static int set_begin(struct metric_collect *collect, enum metric_rows rows, size_t n)
{
	struct metric_set *set = &collect->sets[rows];

	set->n = 0;
	if (n > set->cap) {
		struct metric_series *series = reallocarray(set->series, n, sizeof(*series));

		if (!series)
			return -ENOMEM;
		set->series = series;
		set->cap = n;
	}
	return slots_prepare(collect, n);
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

/* Adds @row under the labels appended to collect->labels since @label_at. */
static void set_add(struct metric_collect *collect, enum metric_rows rows, size_t label_at,
		    const struct metric_row *row)
{
	struct metric_set *set = &collect->sets[rows];
	const char *labels = collect->labels.data + label_at;
	size_t len = collect->labels.len - label_at, at;
	uint64_t hash;

	if (collect->labels.err)
		return;
	hash = hash_bytes(labels, len);
	for (at = hash & (collect->n_slots - 1); collect->slots[at] > 0;
	     at = (at + 1) & (collect->n_slots - 1)) {
		struct metric_series *old = &set->series[collect->slots[at] - 1];

		if (old->hash != hash || old->label_len != len ||
		    memcmp(collect->labels.data + old->label_at, labels, len) != 0)
			continue;
		collect->labels.len = label_at;
		if (rows != METRIC_LIMIT)
			row_sum(&old->row, row);
		else if (row->headroom < old->row.headroom)
			old->row = *row;
		return;
	}
	set->series[set->n] = (struct metric_series){
		.label_at = label_at,
		.label_len = len,
		.hash = hash,
		.row = *row,
	};
	collect->slots[at] = ++set->n;
	/* The next row's first label must not take this one's last quote for its own. */
	buf_char(&collect->labels, '\0');
}

static void totals_row(struct metric_row *row, const struct task_totals *totals, bool counting)
{
	row->processes_created = counting ? (double)totals->processes_created : NAN;
	row->threads_created = counting ? (double)totals->threads_created : NAN;
	row->execs = counting ? (double)totals->execs : NAN;
	row->exits = counting ? (double)totals->exits : NAN;
}

static int collect_limits(struct metric_collect *collect, const struct limit_set *limits)
{
	const struct limit *binding = limit_set_binding(limits);
	int err = set_begin(collect, METRIC_LIMIT, limits->n);

	if (err < 0)
		return err;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];
		size_t at = collect->labels.len;

		label(&collect->labels, "limit", limit->name);
		set_add(collect, METRIC_LIMIT, at,
			&(struct metric_row){
				.used = (double)limit->used,
				.max = (double)limit->max,
				.headroom = (double)limit_headroom(limit),
			});
	}
	err = set_begin(collect, METRIC_BINDING, 1);
	if (err < 0)
		return err;
	if (binding) {
		size_t at = collect->labels.len;

		label(&collect->labels, "limit", binding->name);
		set_add(collect, METRIC_BINDING, at, &(struct metric_row){ .count = 1 });
	}
	return 0;
}

static int collect_pods(struct metric_collect *collect, const struct snapshot *snapshot)
{
	int err = set_begin(collect, METRIC_POD, snapshot->n_pods);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_pods; i++) {
		const struct pod_row *pod = &snapshot->pods[i];
		struct metric_row row = {
			.tasks = (double)pod->tasks,
			.limit = or_missing(pod->limit),
		};
		size_t at = collect->labels.len;

		totals_row(&row, &pod->totals, snapshot->node.counting);
		label(&collect->labels, "namespace", pod->namespace);
		label(&collect->labels, "pod", pod->name);
		label(&collect->labels, "builder", pod->builder);
		set_add(collect, METRIC_POD, at, &row);
	}
	return 0;
}

static int collect_containers(struct metric_collect *collect, const struct snapshot *snapshot)
{
	int err = set_begin(collect, METRIC_CONTAINER, snapshot->n_containers);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_containers; i++) {
		const struct container_row *container = &snapshot->containers[i];
		const struct pod_row *pod = &snapshot->pods[container->pod];
		size_t at = collect->labels.len;

		label(&collect->labels, "namespace", pod->namespace);
		label(&collect->labels, "pod", pod->name);
		label(&collect->labels, "container", container->name);
		label(&collect->labels, "builder", pod->builder);
		set_add(collect, METRIC_CONTAINER, at,
			&(struct metric_row){
				.tasks = (double)container->tasks,
				.limit = or_missing(container->limit),
			});
	}
	return 0;
}

static int collect_cgroups(struct metric_collect *collect, const struct snapshot *snapshot)
{
	int err = set_begin(collect, METRIC_CGROUP, snapshot->n_cgroups);

	if (err < 0)
		return err;
	for (size_t i = 0; i < snapshot->n_cgroups; i++) {
		const struct cgroup_row *cgroup = &snapshot->cgroups[i];
		size_t at = collect->labels.len;

		label(&collect->labels, "cgroup", cgroup->path);
		set_add(collect, METRIC_CGROUP, at,
			&(struct metric_row){
				.tasks = (double)cgroup->tasks,
				.limit = or_missing(cgroup->limit),
			});
	}
	return 0;
}

static int collect_own(struct metric_collect *collect, const struct view *view)
{
	size_t n_results = 0;
	int err;

	for (size_t i = 0; i < view->n_levers; i++)
		n_results += view->levers[i].n_results;
	err = set_begin(collect, METRIC_LEVER, n_results);
	for (size_t i = 0; err == 0 && i < view->n_levers; i++) {
		const struct view_lever *lever = &view->levers[i];

		for (size_t j = 0; j < lever->n_results; j++) {
			size_t at = collect->labels.len;

			label(&collect->labels, "lever", lever->name);
			label(&collect->labels, "result", lever->results[j].name);
			set_add(collect, METRIC_LEVER, at,
				&(struct metric_row){ .count = (double)lever->results[j].value });
		}
	}
	if (err == 0)
		err = set_begin(collect, METRIC_PROGRAM, view->n_programs);
	for (size_t i = 0; err == 0 && i < view->n_programs; i++) {
		const struct view_program *program = &view->programs[i];
		size_t at = collect->labels.len;

		label(&collect->labels, "program", program->name);
		set_add(collect, METRIC_PROGRAM, at,
			&(struct metric_row){
				.run_seconds = program->run_seconds,
				.runs = (double)program->runs,
				.recursion_misses = (double)program->recursion_misses,
			});
	}
	if (err == 0)
		err = set_begin(collect, METRIC_LOST, view->n_lost_events);
	for (size_t i = 0; err == 0 && i < view->n_lost_events; i++) {
		size_t at = collect->labels.len;

		label(&collect->labels, "kind", view->lost_events[i].name);
		set_add(collect, METRIC_LOST, at,
			&(struct metric_row){ .count = (double)view->lost_events[i].value });
	}
	return err;
}

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
		s->writer_failed = (double)view->writer.failed;
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

static int collect_info(struct metric_collect *collect, const struct view *view)
{
	const struct node_row *node = &view->snapshot->node;
	struct buf *labels = &collect->labels;
	int err = set_begin(collect, METRIC_INFO, 1);
	size_t at = labels->len;

	if (err < 0)
		return err;
	label(labels, "version", view->version);
	label(labels, "cgroup", node->cgroup_mode ? node->cgroup_mode : "");
	label(labels, "counting", node->counting ? "bpf" : "none");
	label(labels, "mode", view->mode);
	label(labels, "node", node->name);
	set_add(collect, METRIC_INFO, at, &(struct metric_row){ .count = 1 });
	return 0;
}

void metric_collect_done(struct metric_collect *collect)
{
	buf_done(&collect->labels);
	for (size_t i = 0; i < METRIC_ROWS_N; i++)
		free(collect->sets[i].series);
	free(collect->slots);
	*collect = (struct metric_collect){ 0 };
}

int metric_collect_view(struct metric_collect *collect, const struct view *view)
{
	int err;

	buf_reset(&collect->labels);
	err = collect_info(collect, view);
	if (err == 0)
		err = collect_limits(collect, &view->snapshot->node.limits);
	if (err == 0)
		err = collect_pods(collect, view->snapshot);
	if (err == 0)
		err = collect_containers(collect, view->snapshot);
	if (err == 0)
		err = collect_cgroups(collect, view->snapshot);
	if (err == 0)
		err = collect_own(collect, view);
	collect_scalars(&collect->scalars, view);
	return err < 0 ? err : collect->labels.err;
}
