// SPDX-License-Identifier: Apache-2.0
#include "report.h"

#include <inttypes.h>
#include <stdatomic.h>

static void causes(struct buf *buf, const char *name, const uint64_t counts[POD_CAUSES])
{
	for (enum pod_cause i = POD_SUCCEEDED + 1; i < POD_INTERRUPTED; i++)
		buf_printf(buf, "  \"%s_%s\": %" PRIu64 ",\n", name, pod_cause_name(i), counts[i]);
}

/* Of the builds that still run, nothing is in the counts yet. */
static void add_live(const struct generator *generator, struct generator_counts *counts)
{
	for (size_t i = 0; i < generator->n_pods; i++) {
		const struct pod *pod = generator->pods[i];

		if (pod->counted || !pod->page)
			continue;
		counts->processes_created += atomic_load(&pod->page->processes_created);
		counts->threads_created += atomic_load(&pod->page->threads_created);
		counts->fork_failures += atomic_load(&pod->page->fork_failures);
	}
}

void report_counts(struct buf *buf, const struct generator *generator)
{
	struct generator_counts counts = generator->counts;

	add_live(generator, &counts);
	buf_printf(buf,
		   "  \"started\": %" PRIu64 ",\n  \"attempts\": %" PRIu64 ",\n"
		   "  \"finished\": %" PRIu64 ",\n  \"finished_first_try\": %" PRIu64 ",\n"
		   "  \"finished_in_time\": %" PRIu64 ",\n"
		   "  \"failed\": %" PRIu64 ",\n  \"unfinished\": %" PRIu64 ",\n",
		   counts.started, counts.attempts, counts.finished, counts.finished_first_try,
		   counts.finished_in_time, counts.failed, counts.unfinished);
	buf_printf(buf, "  \"first_attempt_failures\": %" PRIu64 ",\n",
		   generator_first_attempt_failures(generator));
	causes(buf, "first_attempt_failures", counts.first_attempt_failures);
	causes(buf, "failures", counts.failures);
	buf_printf(buf,
		   "  \"fork_failures_in_builds\": %" PRIu64 ",\n"
		   "  \"pod_start_failures\": %" PRIu64 ",\n"
		   "  \"processes_created\": %" PRIu64 ",\n  \"threads_created\": %" PRIu64 ",\n"
		   "  \"pod_processes_created\": %" PRIu64,
		   counts.fork_failures, counts.pod_start_failures, counts.processes_created,
		   counts.threads_created, counts.pod_processes_created);
}

static int64_t makespan_ms(const struct generator *generator, int64_t now_ms)
{
	if (generator->state == GENERATOR_PAUSED)
		return 0;
	return (generator->state == GENERATOR_DONE ? generator->last_end_ms : now_ms) -
	       generator->start_ms;
}

void report_json(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	const struct options *options = generator->options;
	const char *source;
	uint64_t peak = node_peak(generator->node, &source);

	buf_str(buf, "{\n  \"node_cgroup\": ");
	buf_json_string(buf, generator->node->dir);
	buf_str(buf, ",\n  \"node_pids_limit\": ");
	if (generator->node->limit == UINT64_MAX)
		buf_str(buf, "null");
	else
		buf_u64(buf, generator->node->limit);
	buf_printf(buf,
		   ",\n  \"concurrency\": %" PRIu64 ",\n  \"time_scale\": %g,\n  \"seed\": %" PRIu64
		   ",\n  \"threads_per_process\": %" PRIu64 ",\n  \"ignored_hints\": %s,\n",
		   options->concurrency, options->time_scale, options->seed, options->threads,
		   options->ignore_hints ? "true" : "false");
	report_counts(buf, generator);
	buf_printf(buf,
		   ",\n  \"makespan_ms\": %" PRId64 ",\n  \"highest_pids\": %" PRIu64
		   ",\n  \"highest_pids_source\": \"%s\",\n  \"cpu_busy_ratio\": %.3f,\n"
		   "  \"peak_processes_per_build\": [",
		   makespan_ms(generator, now_ms), peak, source, generator_cpu_ratio(generator));
	for (size_t i = 0; i < generator->n_peaks; i++)
		buf_printf(buf, "%s%" PRIu32, i > 0 ? ", " : "", generator->peaks[i]);
	buf_str(buf, "]\n}\n");
}

void report_text(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	const struct generator_counts *counts = &generator->counts;
	const char *source;
	uint64_t peak = node_peak(generator->node, &source);
	uint32_t low = UINT32_MAX, high = 0;

	for (size_t i = 0; i < generator->n_peaks; i++) {
		low = generator->peaks[i] < low ? generator->peaks[i] : low;
		high = generator->peaks[i] > high ? generator->peaks[i] : high;
	}
	buf_printf(buf,
		   "builds       %" PRIu64 " started, %" PRIu64 " finished (%" PRIu64
		   " before the drain), %" PRIu64 " failed for good, %" PRIu64 " unfinished\n",
		   counts->started, counts->finished, counts->finished_in_time, counts->failed,
		   counts->unfinished);
	buf_printf(buf, "first tries  %" PRIu64 " failed",
		   generator_first_attempt_failures(generator));
	for (enum pod_cause i = POD_SUCCEEDED + 1; i < POD_INTERRUPTED; i++)
		if (counts->first_attempt_failures[i] > 0)
			buf_printf(buf, ", %s %" PRIu64, pod_cause_name(i),
				   counts->first_attempt_failures[i]);
	buf_printf(buf,
		   "\nforks        %" PRIu64 " failed in builds, %" PRIu64
		   " pods could not be started\n"
		   "created      %" PRIu64 " processes and %" PRIu64 " threads by builds\n"
		   "took         %.1f s, %.0f %% of the machine's CPU time\n"
		   "highest PIDs %" PRIu64 " (%s)",
		   counts->fork_failures, counts->pod_start_failures, counts->processes_created,
		   counts->threads_created, (double)makespan_ms(generator, now_ms) / 1000,
		   generator_cpu_ratio(generator) * 100, peak, source);
	if (generator->node->limit != UINT64_MAX)
		buf_printf(buf, " of %" PRIu64, generator->node->limit);
	if (generator->n_peaks > 0)
		buf_printf(buf, "\nper build    %" PRIu32 "-%" PRIu32 " processes at the height",
			   low, high);
	buf_char(buf, '\n');
}

void report_progress(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	uint64_t limit = throttle_limit(&generator->throttle);

	buf_printf(buf, "%5.1f s  tasks %5" PRIu64, (double)makespan_ms(generator, now_ms) / 1000,
		   generator->current);
	if (generator->node->limit != UINT64_MAX)
		buf_printf(buf, "/%" PRIu64, generator->node->limit);
	buf_printf(buf,
		   "  builds %3zu running %4" PRIu64 " finished  first-attempt failures %3" PRIu64
		   "  hint ",
		   generator_running(generator), generator->counts.finished,
		   generator_first_attempt_failures(generator));
	if (limit == THROTTLE_NONE)
		buf_str(buf, "none");
	else
		buf_printf(buf, "%" PRIu64 "%s", limit,
			   generator->options->ignore_hints ? " (ignored)" : "");
	buf_char(buf, '\n');
}
