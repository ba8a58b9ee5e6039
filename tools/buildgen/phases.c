// SPDX-License-Identifier: Apache-2.0
#include "phases.h"

#include "rng.h"

static const struct {
	const char *name;
	const char *leader_comm;
	const char *worker_comm;
	uint16_t min_s, max_s;
	uint16_t percent; /* of the height */
	uint16_t burners;
	uint16_t turnover_ms;
} phases[PHASE_COUNT] = {
	[PHASE_ENVIRONMENT] = { "environment", "b:environment", "sh", 2, 5, 5, 0, 0 },
	[PHASE_DEPENDENCIES] = { "dependencies", "b:dependencies", "mvn-resolve", 5, 15, 30, 0,
				 200 },
	[PHASE_COMPILATION] = { "compilation", "b:compilation", "javac", 10, 30, 100, 3, 100 },
	[PHASE_UNIT_TESTS] = { "unit tests", "b:unit-tests", "surefire", 5, 15, 85, 2, 150 },
	[PHASE_INTEGRATION_TESTS] = { "integration tests", "b:integr-tests", "failsafe", 3, 10, 50,
				      1, 0 },
	[PHASE_PACKAGING] = { "packaging", "b:packaging", "jar", 2, 8, 25, 1, 0 },
	[PHASE_PUBLISHING] = { "publishing", "b:publishing", "mvn-deploy", 2, 5, 8, 0, 0 },
};

void phases_plan_make(uint64_t seed, double time_scale, struct phases_plan *ret_plan)
{
	struct rng rng = { .state = seed };

	ret_plan->height = (uint32_t)rng_range(&rng, PHASES_HEIGHT_MIN, PHASES_HEIGHT_MAX);
	for (unsigned int i = 0; i < PHASE_COUNT; i++) {
		uint64_t ms = rng_range(&rng, phases[i].min_s * 1000u, phases[i].max_s * 1000u);

		ret_plan->duration_ms[i] = (int64_t)((double)ms * time_scale);
		if (ret_plan->duration_ms[i] < 1)
			ret_plan->duration_ms[i] = 1;
	}
}

int64_t phases_total_ms(const struct phases_plan *plan)
{
	int64_t total = 0;

	for (unsigned int i = 0; i < PHASE_COUNT; i++)
		total += plan->duration_ms[i];
	return total;
}

static uint32_t phase_target(const struct phases_plan *plan, unsigned int phase)
{
	uint32_t target = (plan->height * phases[phase].percent + 50) / 100;

	return target > 0 ? target : 1;
}

enum phase phases_at(const struct phases_plan *plan, int64_t elapsed_ms, uint32_t *ret_target)
{
	uint32_t from = 1;

	for (unsigned int i = 0; i < PHASE_COUNT; i++) {
		uint32_t to = phase_target(plan, i);
		/* The first half of a phase leads over from the one before it. */
		int64_t ramp_ms = plan->duration_ms[i] / 2 + 1;

		if (elapsed_ms >= plan->duration_ms[i]) {
			elapsed_ms -= plan->duration_ms[i];
			from = to;
			continue;
		}
		if (elapsed_ms >= ramp_ms)
			*ret_target = to;
		else
			*ret_target = (uint32_t)((int64_t)from + ((int64_t)to - (int64_t)from) *
									 elapsed_ms / ramp_ms);
		return (enum phase)i;
	}
	*ret_target = 1;
	return PHASE_COUNT;
}

const char *phases_name(unsigned int phase)
{
	if (phase < PHASE_COUNT)
		return phases[phase].name;
	return phase == PHASE_COUNT ? "over" : "starting";
}

const char *phases_leader_comm(enum phase phase)
{
	return phases[phase].leader_comm;
}

const char *phases_worker_comm(enum phase phase)
{
	return phases[phase].worker_comm;
}

uint32_t phases_burners(enum phase phase)
{
	return phases[phase].burners;
}

int64_t phases_turnover_ms(enum phase phase)
{
	return phases[phase].turnover_ms;
}
