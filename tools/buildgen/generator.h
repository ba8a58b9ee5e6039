/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The job generator: keeps a wanted number of builds running, as far as the hints allow, tries
 * failed ones again, and counts what happened.
 * Refuses: HTTP, signals and files; to end or slow a build that runs.
 */
#ifndef BUILDGEN_GENERATOR_H
#define BUILDGEN_GENERATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "node.h"
#include "options.h"
#include "pod.h"
#include "throttle.h"

/* Ended pods stay in /pods for a while, as a kubelet's do. */
#define GENERATOR_RECENT 5
#define GENERATOR_PEAKS_MAX 65536

enum generator_state {
	GENERATOR_PAUSED, /* until generator_start() */
	GENERATOR_RUNNING,
	GENERATOR_DRAINING, /* starts nothing, lets the running builds finish */
	GENERATOR_STOPPING, /* ends the running builds */
	GENERATOR_DONE, /* nothing runs any more */
};

struct generator_counts {
	uint64_t started; /* builds; a build is one job, however often it is tried */
	uint64_t attempts; /* pods */
	uint64_t finished; /* builds that succeeded in the end */
	uint64_t finished_first_try; /* of them, without a retry */
	uint64_t finished_in_time; /* of them, before the drain */
	uint64_t failed; /* given up after the last retry */
	uint64_t unfinished; /* waiting for a retry, or running, when it all ended */
	uint64_t first_attempt_failures[POD_CAUSES];
	uint64_t failures[POD_CAUSES]; /* of all attempts */
	uint64_t fork_failures; /* inside builds */
	uint64_t pod_start_failures;
	uint64_t processes_created; /* by builds */
	uint64_t threads_created; /* by builds, beyond each process's first */
	uint64_t pod_processes_created; /* by the generator itself: build leaders and pauses */
};

/* A build that waits to be tried again. */
struct generator_retry {
	struct pod_spec spec;
	int64_t due_ms;
};

struct generator {
	const struct options *options;
	struct node *node;
	struct throttle throttle;
	enum generator_state state;
	struct generator_counts counts;
	struct pod **pods; /* running and ending */
	size_t n_pods, max_pods;
	struct pod *recent[GENERATOR_RECENT]; /* ended, newest first; NULL: none */
	struct generator_retry *retries;
	size_t n_retries, max_retries;
	uint32_t *peaks; /* peak processes of each build that succeeded, in order of their ends */
	size_t n_peaks;
	int64_t start_ms, start_wall_ms, stop_ms, last_end_ms; /* monotonic but start_wall_ms */
	int64_t next_batch_ms;
	uint64_t current; /* tasks on the node at the last tick */
	uint64_t cpu_busy, cpu_total; /* /proc/stat's jiffies when the run began */
};

int generator_new(const struct options *options, struct node *node,
		  struct generator **ret_generator);
void generator_free(struct generator *generator);
/* Leaves GENERATOR_PAUSED. */
void generator_start(struct generator *generator, int64_t now_ms);
/* To be called every GENERATOR_TICK_MS: samples, cleans up, starts what is due. */
#define GENERATOR_TICK_MS 20
void generator_tick(struct generator *generator, int64_t now_ms);
/* A child was reaped. */
void generator_reaped(struct generator *generator, pid_t tgid, int wait_status);
/* Ends the running builds; GENERATOR_DONE follows within seconds. */
void generator_stop(struct generator *generator, int64_t now_ms);
/* Pods whose build is not over. */
size_t generator_running(const struct generator *generator);
/* Builds that may run now: the wanted number, or what the hints in force leave of it. */
uint64_t generator_allowed(const struct generator *generator);
uint64_t generator_first_attempt_failures(const struct generator *generator);
/* Share of the machine's CPU time not idle since the start, 0..1. */
double generator_cpu_ratio(const struct generator *generator);
const char *generator_state_name(enum generator_state state);

#endif
