/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a build does over its life: seven phases, how long each lasts, how many processes it
 * wants at any moment. All of it follows from the build's seed.
 * Refuses: to start anything or read a clock.
 */
#ifndef BUILDGEN_PHASES_H
#define BUILDGEN_PHASES_H

#include <stdint.h>

enum phase {
	PHASE_ENVIRONMENT,
	PHASE_DEPENDENCIES,
	PHASE_COMPILATION,
	PHASE_UNIT_TESTS,
	PHASE_INTEGRATION_TESTS,
	PHASE_PACKAGING,
	PHASE_PUBLISHING,
	PHASE_COUNT, /* over */
};

/* The incident's builds: 60-85 processes each at their height. */
#define PHASES_HEIGHT_MIN 60
#define PHASES_HEIGHT_MAX 85

struct phases_plan {
	uint32_t height; /* processes at the height of the build, its leader included */
	int64_t duration_ms[PHASE_COUNT]; /* after scaling */
};

void phases_plan_make(uint64_t seed, double time_scale, struct phases_plan *ret_plan);
int64_t phases_total_ms(const struct phases_plan *plan);
/* The phase at @elapsed_ms, PHASE_COUNT after the last, and the processes wanted then (the leader
 * included, so never 0). */
enum phase phases_at(const struct phases_plan *plan, int64_t elapsed_ms, uint32_t *ret_target);
/* "unit tests"; "over" for PHASE_COUNT, "starting" for anything else. */
const char *phases_name(unsigned int phase);
/* At most 15 bytes, for /proc/PID/comm: of the build's leader, and of its workers. */
const char *phases_leader_comm(enum phase phase);
const char *phases_worker_comm(enum phase phase);
/* Workers of this phase that use a CPU, in short slices. */
uint32_t phases_burners(enum phase phase);
/* Mean time between a worker's end and its replacement's start, 0: workers stay. Not scaled: a
 * build in a hurry must not become a fork bomb. */
int64_t phases_turnover_ms(enum phase phase);

#endif
