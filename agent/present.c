// SPDX-License-Identifier: Apache-2.0
#include "present.h"

#include <string.h>

#include "read/bpf_probe.h"
#include "sentinel.h"
#include "writer.h"

_Static_assert(SENTINEL_BUCKETS <= VIEW_BUCKETS_MAX, "the view takes the sentinel's buckets");

static void fill_levers(struct present *present, const struct present_input *input)
{
	size_t n = input->n_levers < PRESENT_LEVERS ? input->n_levers : PRESENT_LEVERS;

	for (size_t i = 0; i < n; i++) {
		struct lever_status *status = &present->statuses[i];
		struct view_lever *row = &present->levers[i];

		input->levers[i]->ops->status(input->levers[i], input->now_ms, status);
		for (size_t j = 0; j < LEVER_RESULTS; j++)
			present->results[i][j] = (struct view_count){
				.name = lever_result_name((enum lever_result)j),
				.value = status->results[j],
			};
		*row = (struct view_lever){
			.name = status->name,
			.state = status->state,
			.target = status->target,
			.last_error = status->last_error,
			.left_ms = status->left_ms,
			.results = present->results[i],
			.n_results = LEVER_RESULTS,
		};
	}
	present->view.levers = present->levers;
	present->view.n_levers = n;
}

static void fill_bpf(struct present *present, const struct bpf_probe *probe)
{
	struct bpf_probe_cost cost;
	struct pw_errors errors;
	size_t n = 0;

	while (n < PRESENT_PROGRAMS && bpf_probe_cost(probe, n, &cost) == 0) {
		memcpy(present->program_names[n], cost.name, sizeof(cost.name));
		present->programs[n] = (struct view_program){
			.name = present->program_names[n],
			.run_seconds = (double)cost.run_time_ns / 1e9,
			.runs = cost.run_cnt,
			.recursion_misses = cost.recursion_misses,
		};
		n++;
	}
	present->view.programs = present->programs;
	present->view.n_programs = n;
	bpf_probe_errors(probe, &errors);
	present->lost[0] = (struct view_count){ "overflow", errors.overflow_events };
	present->lost[1] = (struct view_count){ "slot_conflict", errors.slot_conflicts };
	present->lost[2] = (struct view_count){ "fold", errors.lost_folds };
	present->lost[3] = (struct view_count){ "trip", errors.lost_trips };
	present->lost[4] = (struct view_count){ "failed_lookup", errors.failed_lookups };
	present->view.lost_events = present->lost;
	present->view.n_lost_events = PRESENT_LOST;
}

static void fill_sentinel(struct view_sentinel *row, const struct sentinel *sentinel)
{
	struct sentinel_stats stats;

	sentinel_stats(sentinel, &stats);
	row->running = true;
	row->realtime = stats.realtime;
	row->wakeups = stats.wakeups;
	row->wakeup_seconds.n_bounds = SENTINEL_BUCKETS;
	row->wakeup_seconds.sum = (double)stats.latency_sum_ns / 1e9;
	for (size_t i = 0; i < SENTINEL_BUCKETS; i++)
		row->wakeup_seconds.bounds[i] = (double)sentinel_bounds_ns[i] / 1e9;
	for (size_t i = 0; i <= SENTINEL_BUCKETS; i++)
		row->wakeup_seconds.counts[i] = stats.latency_counts[i];
}

void present_fill(struct present *present, const struct present_input *input)
{
	const struct judge_forecast *forecast = input->forecast;
	struct view *view = &present->view;
	struct writer_stats writer;

	memset(view, 0, sizeof(*view));
	view->version = PIDWARDEN_VERSION;
	view->mode = input->mode;
	view->snapshot = input->snapshot;
	view->decision = input->decision;
	view->level_since_wall_ms = input->level_since_wall_ms;
	view->forecast = (struct view_forecast){
		.known = forecast->known,
		.expected_headroom = forecast->expected_headroom,
		.budget = forecast->budget,
		.pids_per_build = forecast->per_build,
	};
	fill_levers(present, input);
	if (input->probe)
		fill_bpf(present, input->probe);
	if (input->sentinel)
		fill_sentinel(&view->sentinel, input->sentinel);
	writer_stats(input->writer, &writer);
	view->writer.running = true;
	view->writer.queued = writer.queued;
	view->writer.dropped = writer.dropped;
	view->writer.failed = writer.failed;
	view->loop_longest_seconds = input->loop_longest_seconds;
	process_stats_read(&view->process);
}
