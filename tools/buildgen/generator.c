// SPDX-License-Identifier: Apache-2.0
#include "generator.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"
#include "phases.h"
#include "rng.h"

/* Kubernetes waits 10 s before a failed Job's second pod, and twice as long each time. */
#define BACKOFF_MS 10000
#define BACKOFF_DOUBLINGS 5
/* The longest build lasts 88 s; what a loaded machine may add. */
#define DRAIN_MS 88000
#define DRAIN_EXTRA_MS 10000
#define STOP_MS 3000

/* Jiffies of all CPUs. Guest time is part of user time already. */
static void read_cpu(uint64_t *ret_busy, uint64_t *ret_total)
{
	unsigned long long user, nice, sys, idle, iowait, irq, softirq, steal;
	char data[256];

	*ret_busy = *ret_total = 0;
	if (read_small_file(AT_FDCWD, "/proc/stat", data, sizeof(data)) < 0 ||
	    sscanf(data, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle,
		   &iowait, &irq, &softirq, &steal) != 8)
		return;
	*ret_busy = user + nice + sys + irq + softirq + steal;
	*ret_total = *ret_busy + idle + iowait;
}

static int64_t scaled(const struct generator *generator, int64_t ms)
{
	int64_t value = (int64_t)((double)ms * generator->options->time_scale);

	return value > 0 ? value : 1;
}

int generator_new(const struct options *options, struct node *node,
		  struct generator **ret_generator)
{
	struct generator *generator = calloc(1, sizeof(*generator));

	if (!generator)
		return -ENOMEM;
	generator->options = options;
	generator->node = node;
	/* Ended pods leave the array before new ones start; a batch may still overlap them. */
	generator->max_pods = (size_t)(options->concurrency * 2 + options->start_batch);
	generator->pods = calloc(generator->max_pods, sizeof(struct pod *));
	generator->peaks = calloc(GENERATOR_PEAKS_MAX, sizeof(*generator->peaks));
	if (!generator->pods || !generator->peaks) {
		generator_free(generator);
		return -ENOMEM;
	}
	*ret_generator = generator;
	return 0;
}

void generator_free(struct generator *generator)
{
	if (!generator)
		return;
	for (size_t i = 0; i < generator->n_pods; i++)
		pod_free(generator->pods[i]);
	for (size_t i = 0; i < GENERATOR_RECENT; i++)
		pod_free(generator->recent[i]);
	free(generator->pods);
	free(generator->retries);
	free(generator->peaks);
	free(generator);
}

void generator_start(struct generator *generator, int64_t now_ms)
{
	if (generator->state != GENERATOR_PAUSED)
		return;
	generator->state = GENERATOR_RUNNING;
	generator->start_ms = generator->last_end_ms = generator->next_batch_ms = now_ms;
	generator->start_wall_ms = clock_wall_ms();
	read_cpu(&generator->cpu_busy, &generator->cpu_total);
}

size_t generator_running(const struct generator *generator)
{
	size_t n = 0;

	for (size_t i = 0; i < generator->n_pods; i++)
		n += generator->pods[i]->state == POD_RUNNING;
	return n;
}

uint64_t generator_allowed(const struct generator *generator)
{
	uint64_t limit = throttle_limit(&generator->throttle);
	uint64_t wanted = generator->options->concurrency;

	return generator->options->ignore_hints || limit > wanted ? wanted : limit;
}

uint64_t generator_first_attempt_failures(const struct generator *generator)
{
	uint64_t n = 0;

	for (size_t i = POD_SUCCEEDED + 1; i < POD_INTERRUPTED; i++)
		n += generator->counts.first_attempt_failures[i];
	return n;
}

double generator_cpu_ratio(const struct generator *generator)
{
	uint64_t busy, total;

	read_cpu(&busy, &total);
	if (generator->cpu_total == 0 || total <= generator->cpu_total)
		return 0;
	return (double)(busy - generator->cpu_busy) / (double)(total - generator->cpu_total);
}

static int add_retry(struct generator *generator, const struct pod *pod)
{
	uint64_t doublings = pod->spec.attempt - 1;
	struct generator_retry *retry;

	if (generator->n_retries == generator->max_retries) {
		size_t max = generator->max_retries > 0 ? generator->max_retries * 2 : 16;
		struct generator_retry *retries =
			realloc(generator->retries, max * sizeof(*retries));

		if (!retries)
			return -ENOMEM;
		generator->retries = retries;
		generator->max_retries = max;
	}
	if (doublings > BACKOFF_DOUBLINGS)
		doublings = BACKOFF_DOUBLINGS;
	retry = &generator->retries[generator->n_retries++];
	*retry = (struct generator_retry){
		.spec = pod->spec,
		.due_ms = pod->end_ms + scaled(generator, (int64_t)BACKOFF_MS << doublings),
	};
	retry->spec.attempt++;
	return 0;
}

static void count_failure(struct generator *generator, const struct pod *pod)
{
	struct generator_counts *counts = &generator->counts;

	counts->failures[pod->cause]++;
	if (pod->spec.attempt == 1)
		counts->first_attempt_failures[pod->cause]++;
	if (pod->cause == POD_START_FAILURE)
		counts->pod_start_failures++;
	log_debug("%s/%s: attempt %" PRIu64 " failed: %s", pod->spec.namespace, pod->name,
		  pod->spec.attempt, pod_cause_name(pod->cause));
	if (pod->spec.attempt > generator->options->backoff_limit)
		counts->failed++;
	else if (add_retry(generator, pod) < 0)
		counts->failed++;
}

/* Takes a pod's end into account, once. */
static void count_end(struct generator *generator, struct pod *pod)
{
	struct generator_counts *counts = &generator->counts;

	if (pod->counted)
		return;
	pod->counted = true;
	if (pod->page) {
		counts->processes_created += atomic_load(&pod->page->processes_created);
		counts->threads_created += atomic_load(&pod->page->threads_created);
		counts->fork_failures += atomic_load(&pod->page->fork_failures);
	}
	generator->last_end_ms = pod->end_ms;
	if (pod->cause == POD_SUCCEEDED) {
		counts->finished++;
		counts->finished_first_try += pod->spec.attempt == 1;
		if (generator->state == GENERATOR_RUNNING)
			counts->finished_in_time++;
		if (generator->n_peaks < GENERATOR_PEAKS_MAX)
			generator->peaks[generator->n_peaks++] =
				atomic_load(&pod->page->peak_processes);
	} else if (generator->state == GENERATOR_STOPPING) {
		/* Whatever it died of now, the generator's own end is behind it. */
		pod->cause = POD_INTERRUPTED;
		counts->unfinished++;
	} else {
		count_failure(generator, pod);
	}
}

void generator_reaped(struct generator *generator, pid_t tgid, int wait_status)
{
	for (size_t i = 0; i < generator->n_pods; i++) {
		struct pod *pod = generator->pods[i];

		if (!pod_reaped(pod, tgid, wait_status))
			continue;
		if (pod->state != POD_RUNNING)
			count_end(generator, pod);
		return;
	}
}

static void start_attempt(struct generator *generator, const struct pod_spec *spec)
{
	struct pod *pod = NULL;
	int err = pod_start(generator->node, spec, &pod);

	generator->counts.attempts++;
	if (spec->attempt == 1)
		generator->counts.started++;
	if (!pod) {
		/* No memory even for the record of the failure. */
		generator->counts.pod_start_failures++;
		generator->counts.failures[POD_START_FAILURE]++;
		if (spec->attempt == 1)
			generator->counts.first_attempt_failures[POD_START_FAILURE]++;
		generator->counts.failed++;
		return;
	}
	generator->counts.pod_processes_created +=
		(uint64_t)(pod->leader > 0) + (uint64_t)(pod->pause > 0);
	generator->pods[generator->n_pods++] = pod;
	if (err < 0) {
		log_warn("%s/%s: cannot start the pod: %s; %s", spec->namespace, pod->name,
			 strerror(-err),
			 spec->attempt > generator->options->backoff_limit ? "giving up" :
									     "trying again later");
		count_end(generator, pod);
	}
}

static void new_spec(const struct generator *generator, struct pod_spec *ret_spec)
{
	const struct options *options = generator->options;
	uint64_t index = generator->counts.started;
	struct rng rng = { .state = options->seed << 32 ^ index };

	*ret_spec = (struct pod_spec){
		.index = index,
		.attempt = 1,
		.seed = rng_next(&rng),
		.time_scale = options->time_scale,
		.threads = options->threads,
	};
	names_job(rng_next(&rng), index, ret_spec->job_name);
	names_uuid(ret_spec->job_uid);
	snprintf(ret_spec->namespace, sizeof(ret_spec->namespace), "%.42s-%" PRIu64,
		 options->namespace_prefix, index % options->total_namespaces + 1);
}

/* The next build to start: one that is to be tried again, or a new one. False: none. */
static bool next_spec(struct generator *generator, int64_t now_ms, struct pod_spec *ret_spec)
{
	for (size_t i = 0; i < generator->n_retries; i++) {
		if (generator->retries[i].due_ms > now_ms)
			continue;
		*ret_spec = generator->retries[i].spec;
		generator->retries[i] = generator->retries[--generator->n_retries];
		return true;
	}
	if (generator->options->builds > 0 &&
	    generator->counts.started >= generator->options->builds)
		return false;
	new_spec(generator, ret_spec);
	return true;
}

static void start_batch(struct generator *generator, int64_t now_ms)
{
	uint64_t allowed = generator_allowed(generator);
	struct pod_spec spec;

	if (now_ms < generator->next_batch_ms)
		return;
	for (uint64_t i = 0; i < generator->options->start_batch; i++) {
		/* A pod that is still being removed holds its place, and its PIDs. */
		if (generator->n_pods >= allowed || generator->n_pods >= generator->max_pods ||
		    !next_spec(generator, now_ms, &spec))
			break;
		start_attempt(generator, &spec);
		generator->next_batch_ms =
			now_ms + scaled(generator, generator->options->start_every_ms);
	}
}

static void keep_recent(struct generator *generator, struct pod *pod)
{
	pod_free(generator->recent[GENERATOR_RECENT - 1]);
	memmove(&generator->recent[1], &generator->recent[0],
		(GENERATOR_RECENT - 1) * sizeof(generator->recent[0]));
	generator->recent[0] = pod;
}

static void clean_pods(struct generator *generator, int64_t now_ms)
{
	int64_t timeout_ms = scaled(generator, generator->options->build_timeout_ms);

	for (size_t i = 0; i < generator->n_pods;) {
		struct pod *pod = generator->pods[i];

		if (pod->state == POD_RUNNING && now_ms - pod->start_ms > timeout_ms) {
			if (!pod->killed_for_timeout)
				pod_stop(pod);
			/* One that does not end by itself is killed with its cgroup. */
			else if (now_ms - pod->start_ms > timeout_ms + STOP_MS)
				cgtree_remove_pass(pod->dir);
			pod->killed_for_timeout = true;
		}
		pod_clean(pod);
		if (pod->state != POD_ENDED) {
			i++;
			continue;
		}
		generator->pods[i] = generator->pods[--generator->n_pods];
		keep_recent(generator, pod);
	}
}

static void drain(struct generator *generator, int64_t now_ms)
{
	generator->state = GENERATOR_DRAINING;
	generator->stop_ms = now_ms + scaled(generator, DRAIN_MS) + DRAIN_EXTRA_MS;
	log_info("no more builds are started; %zu still run", generator_running(generator));
}

void generator_stop(struct generator *generator, int64_t now_ms)
{
	if (generator->state >= GENERATOR_STOPPING)
		return;
	generator->state = GENERATOR_STOPPING;
	generator->stop_ms = now_ms + STOP_MS;
	for (size_t i = 0; i < generator->n_pods; i++)
		pod_stop(generator->pods[i]);
}

/* Moves on when there is nothing more to do, or no more time. */
static void advance(struct generator *generator, int64_t now_ms)
{
	const struct options *options = generator->options;

	if (generator->state == GENERATOR_RUNNING) {
		if (options->duration_ms > 0 &&
		    now_ms - generator->start_ms >= options->duration_ms)
			drain(generator, now_ms);
		else if (options->builds > 0 && generator->counts.started >= options->builds &&
			 generator->n_pods == 0 && generator->n_retries == 0)
			generator->state = GENERATOR_DONE;
	}
	if (generator->state == GENERATOR_DRAINING && now_ms >= generator->stop_ms)
		generator_stop(generator, now_ms);
	if (generator->state == GENERATOR_STOPPING && now_ms >= generator->stop_ms)
		for (size_t i = 0; i < generator->n_pods; i++)
			cgtree_remove_pass(generator->pods[i]->dir);
	if ((generator->state == GENERATOR_DRAINING || generator->state == GENERATOR_STOPPING) &&
	    generator->n_pods == 0)
		generator->state = GENERATOR_DONE;
	if (generator->state == GENERATOR_DONE) {
		generator->counts.unfinished += generator->n_retries;
		generator->n_retries = 0;
	}
}

void generator_tick(struct generator *generator, int64_t now_ms)
{
	node_sample(generator->node, &generator->current);
	if (throttle_expire(&generator->throttle, now_ms))
		log_info("a hint expired; %" PRIu64 " builds may run",
			 generator_allowed(generator));
	clean_pods(generator, now_ms);
	if (generator->state == GENERATOR_RUNNING)
		start_batch(generator, now_ms);
	advance(generator, now_ms);
}

const char *generator_state_name(enum generator_state state)
{
	static const char *const names[] = {
		[GENERATOR_PAUSED] = "paused",	   [GENERATOR_RUNNING] = "running",
		[GENERATOR_DRAINING] = "draining", [GENERATOR_STOPPING] = "stopping",
		[GENERATOR_DONE] = "done",
	};

	return names[state];
}
