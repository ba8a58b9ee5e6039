// SPDX-License-Identifier: Apache-2.0
#include "show/json_view.h"

#include <string.h>
#include <time.h>

/* "key": behind a comma unless it is the first of its object. */
static void key(struct buf *out, const char *name)
{
	size_t len = strlen(name);
	char *at;

	/* A quarter of the text is keys: one piece each. */
	if (buf_reserve(out, len + 4) < 0)
		return;
	at = out->data + out->len;
	if (out->len > 0 && at[-1] != '{')
		*at++ = ',';
	*at++ = '"';
	memcpy(at, name, len);
	at += len;
	*at++ = '"';
	*at++ = ':';
	*at = '\0';
	out->len = (size_t)(at - out->data);
}

/* Nearly every name is plain and copied in one piece; the others take the long way. */
static void string(struct buf *out, const char *value)
{
	size_t len = 0;

	while (value[len] >= ' ' && (unsigned char)value[len] < 0x7f && value[len] != '"' &&
	       value[len] != '\\')
		len++;
	if (value[len] != '\0') {
		buf_json_string(out, value);
		return;
	}
	buf_char(out, '"');
	buf_add(out, value, len);
	buf_char(out, '"');
}

static void open_element(struct buf *out)
{
	if (out->len > 0 && out->data[out->len - 1] != '[')
		buf_char(out, ',');
	buf_char(out, '{');
}

static void add_str(struct buf *out, const char *name, const char *value)
{
	key(out, name);
	string(out, value);
}

/* Text that is absent while not known. */
static void add_str_or_null(struct buf *out, const char *name, const char *value)
{
	key(out, name);
	if (value && value[0])
		string(out, value);
	else
		buf_str(out, "null");
}

static void add_u64(struct buf *out, const char *name, uint64_t value)
{
	key(out, name);
	buf_u64(out, value);
}

static void add_i64(struct buf *out, const char *name, int64_t value)
{
	key(out, name);
	if (value < 0)
		buf_char(out, '-');
	buf_u64(out, value < 0 ? -(uint64_t)value : (uint64_t)value);
}

static void add_null(struct buf *out, const char *name)
{
	key(out, name);
	buf_str(out, "null");
}

static void add_limit(struct buf *out, const char *name, uint64_t value)
{
	if (value == LIMIT_NONE)
		add_null(out, name);
	else
		add_u64(out, name, value);
}

static void add_bool(struct buf *out, const char *name, bool value)
{
	key(out, name);
	buf_str(out, value ? "true" : "false");
}

/* RFC 3339 in UTC with milliseconds; null for 0, which is "never". */
static void add_time(struct buf *out, const char *name, int64_t wall_ms)
{
	time_t seconds = wall_ms / 1000;
	struct tm tm;

	if (wall_ms <= 0 || !gmtime_r(&seconds, &tm)) {
		add_null(out, name);
		return;
	}
	key(out, name);
	buf_printf(out, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", tm.tm_year + 1900, tm.tm_mon + 1,
		   tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(wall_ms % 1000));
}

static void begin_object(struct buf *out, const char *name)
{
	key(out, name);
	buf_char(out, '{');
}

static void begin_array(struct buf *out, const char *name)
{
	key(out, name);
	buf_char(out, '[');
}

static void add_snapshot(struct buf *out, const struct snapshot *snapshot)
{
	begin_object(out, "snapshot");
	add_u64(out, "sequence", snapshot->sequence);
	add_time(out, "time", snapshot->wall_ms);
	add_i64(out, "took_us", snapshot->took_us);
	buf_char(out, '}');
}

static void add_totals(struct buf *out, const struct task_totals *totals, bool counting)
{
	if (!counting) {
		add_null(out, "totals");
		return;
	}
	begin_object(out, "totals");
	add_u64(out, "processes_created", totals->processes_created);
	add_u64(out, "threads_created", totals->threads_created);
	add_u64(out, "execs", totals->execs);
	add_u64(out, "exits", totals->exits);
	buf_char(out, '}');
}

static void add_limits(struct buf *out, const struct limit_set *limits)
{
	begin_array(out, "limits");
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];

		open_element(out);
		add_str(out, "name", limit->name);
		add_str(out, "scope", limit_scope_name(limit->scope));
		add_u64(out, "used", limit->used);
		add_u64(out, "max", limit->max);
		add_u64(out, "configured", limit->configured);
		add_u64(out, "headroom", limit_headroom(limit));
		add_bool(out, "binding", i == limits->binding);
		buf_char(out, '}');
	}
	buf_char(out, ']');
}

static void add_decision(struct buf *out, const struct view *view)
{
	const struct policy_decision *decision = view->decision;

	if (decision) {
		add_str(out, "level", policy_level_name(decision->level));
		add_i64(out, "level_number", decision->level);
	} else {
		add_null(out, "level");
		add_null(out, "level_number");
	}
	add_time(out, "level_since", view->level_since_wall_ms);
	add_str_or_null(out, "reason", decision ? decision->reason : NULL);
	if (decision && decision->throttle)
		add_u64(out, "max_concurrent", decision->max_concurrent);
	else
		add_null(out, "max_concurrent");
}

static void add_builds(struct buf *out, const struct view *view)
{
	const struct node_row *node = &view->snapshot->node;

	begin_object(out, "builds");
	add_u64(out, "running", node->n_builds);
	add_u64(out, "tasks", node->build_tasks);
	if (view->forecast.known) {
		add_u64(out, "budget", view->forecast.budget);
		add_u64(out, "expected_pids_per_build", view->forecast.pids_per_build);
	} else {
		add_null(out, "budget");
		add_null(out, "expected_pids_per_build");
	}
	buf_char(out, '}');
}

static void add_kubelet(struct buf *out, const struct source_state *kubelet)
{
	begin_object(out, "kubelet");
	add_bool(out, "configured", kubelet->configured);
	add_bool(out, "up", kubelet->up);
	add_bool(out, "ever_up", kubelet->ever);
	add_time(out, "last_success", kubelet->last_good_wall_ms);
	add_str_or_null(out, "error", kubelet->up ? NULL : kubelet->error);
	add_u64(out, "requests", kubelet->requests);
	add_u64(out, "failures", kubelet->failures);
	add_u64(out, "pods_skipped", kubelet->items_skipped);
	buf_char(out, '}');
}

static void add_levers(struct buf *out, const struct view *view)
{
	begin_array(out, "levers");
	for (size_t i = 0; i < view->n_levers; i++) {
		const struct view_lever *lever = &view->levers[i];

		open_element(out);
		add_str(out, "name", lever->name);
		add_str_or_null(out, "state", lever->state);
		add_str_or_null(out, "target", lever->target);
		add_str_or_null(out, "last_error", lever->last_error);
		if (lever->left_ms < 0) {
			add_null(out, "expires_in_seconds");
		} else {
			key(out, "expires_in_seconds");
			buf_printf(out, "%.1f", (double)lever->left_ms / 1000);
		}
		begin_object(out, "results");
		for (size_t j = 0; j < lever->n_results; j++)
			add_u64(out, lever->results[j].name, lever->results[j].value);
		buf_str(out, "}}");
	}
	buf_char(out, ']');
}

void json_view_node(const struct view *view, struct buf *out)
{
	const struct snapshot *snapshot = view->snapshot;
	const struct node_row *node = &snapshot->node;
	const struct limit *binding = limit_set_binding(&node->limits);

	buf_char(out, '{');
	add_str(out, "node", node->name);
	add_str(out, "version", view->version);
	add_str(out, "mode", view->mode);
	add_str_or_null(out, "cgroup", node->cgroup_mode);
	add_snapshot(out, snapshot);
	add_decision(out, view);
	add_str_or_null(out, "binding_limit", binding ? binding->name : NULL);
	add_limit(out, "effective_headroom", binding ? limit_headroom(binding) : LIMIT_NONE);
	if (view->forecast.known)
		add_i64(out, "expected_headroom", view->forecast.expected_headroom);
	else
		add_null(out, "expected_headroom");
	add_limits(out, &node->limits);
	add_u64(out, "limits_dropped", node->limits.dropped);
	add_u64(out, "tasks", node->tasks);
	if (node->pids_allocated > 0)
		add_u64(out, "pids_allocated", node->pids_allocated);
	else
		add_null(out, "pids_allocated");
	add_bool(out, "pids_allocated_exact", node->pids_allocated_exact);
	add_u64(out, "pod_tasks", node->pod_tasks);
	add_u64(out, "pods", snapshot->n_pods);
	add_totals(out, &node->totals, node->counting);
	add_builds(out, view);
	begin_object(out, "sources");
	add_kubelet(out, &snapshot->kubelet);
	begin_object(out, "bpf");
	add_bool(out, "up", node->counting);
	add_str_or_null(out, "error", snapshot->bpf_error);
	buf_str(out, "}}");
	add_levers(out, view);
	buf_str(out, "}\n");
}

static void add_containers(struct buf *out, const struct snapshot *snapshot,
			   const struct pod_row *pod)
{
	begin_array(out, "containers");
	for (size_t i = 0; i < pod->n_containers; i++) {
		const struct container_row *container =
			&snapshot->containers[pod->first_container + i];

		open_element(out);
		add_str(out, "name", container->name);
		add_str_or_null(out, "id", container->id);
		add_bool(out, "known", container->known);
		add_bool(out, "sandbox", container->sandbox);
		add_u64(out, "tasks", container->tasks);
		add_limit(out, "limit", container->limit);
		add_totals(out, &container->totals, snapshot->node.counting);
		buf_char(out, '}');
	}
	buf_char(out, ']');
}

static void add_pod(struct buf *out, const struct snapshot *snapshot, const struct pod_row *pod)
{
	open_element(out);
	add_str_or_null(out, "namespace", pod->namespace);
	add_str(out, "name", pod->name);
	add_str(out, "uid", pod->uid);
	add_bool(out, "known", pod->known);
	add_bool(out, "build", pod->is_build);
	add_str_or_null(out, "builder", pod->builder);
	add_str_or_null(out, "workload", pod->workload);
	add_str_or_null(out, "phase", pod->phase);
	key(out, "age_seconds");
	buf_u64(out, pod->age_ms > 0 ? (uint64_t)pod->age_ms / 1000 : 0);
	add_u64(out, "tasks", pod->tasks);
	add_limit(out, "limit", pod->limit);
	add_totals(out, &pod->totals, snapshot->node.counting);
	add_containers(out, snapshot, pod);
	buf_char(out, '}');
}

void json_view_pods(const struct view *view, struct buf *out)
{
	const struct snapshot *snapshot = view->snapshot;

	buf_char(out, '{');
	add_str(out, "node", snapshot->node.name);
	add_snapshot(out, snapshot);
	begin_array(out, "pods");
	for (size_t i = 0; i < snapshot->n_pods; i++)
		add_pod(out, snapshot, &snapshot->pods[i]);
	buf_char(out, ']');
	begin_array(out, "cgroups");
	for (size_t i = 0; i < snapshot->n_cgroups; i++) {
		const struct cgroup_row *cgroup = &snapshot->cgroups[i];

		open_element(out);
		add_str(out, "path", cgroup->path);
		add_u64(out, "tasks", cgroup->tasks);
		add_limit(out, "limit", cgroup->limit);
		add_totals(out, &cgroup->totals, snapshot->node.counting);
		buf_char(out, '}');
	}
	buf_char(out, ']');
	add_u64(out, "cgroups_folded", snapshot->cgroups_folded);
	add_u64(out, "cgroups_folded_tasks", snapshot->cgroups_folded_tasks);
	buf_str(out, "}\n");
}

void json_view_error(const char *error, struct buf *out)
{
	buf_char(out, '{');
	add_str(out, "error", error);
	buf_str(out, "}\n");
}
