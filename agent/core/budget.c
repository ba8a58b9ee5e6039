// SPDX-License-Identifier: Apache-2.0
#include "core/budget.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>

#define SLOTS_MAX 100000

struct moment {
	double mean, variance; /* of all running builds together */
	struct lifecycle_expectation fresh; /* of one build that starts now */
};

/* The steps ahead: now, then every bucket of the widest life cycle concerned. */
static int64_t step_ms(const struct budget_build *builds, size_t n_builds,
		       const struct lifecycle *fresh)
{
	int64_t step = fresh->width_ms;

	for (size_t i = 0; i < n_builds; i++) {
		if (builds[i].lifecycle->width_ms > step)
			step = builds[i].lifecycle->width_ms;
	}
	return step;
}

static double need(const struct budget_limit *limit, const struct moment *moment, double slots,
		   double deviations)
{
	return limit->other + moment->mean + slots * moment->fresh.mean +
	       deviations * sqrt(moment->variance + slots * moment->fresh.variance);
}

static bool fits(const struct budget_limit *limit, const struct moment *moments, double slots,
		 double deviations)
{
	for (size_t i = 0; i < LIFECYCLE_BUCKETS; i++) {
		if (need(limit, &moments[i], slots, deviations) > limit->max - limit->reserve)
			return false;
	}
	return true;
}

static double headroom_clamped(double headroom)
{
	return fmax(fmin(headroom, 9e15), -9e15);
}

void budget_plan(const struct budget_limit *limit, const struct budget_build *builds,
		 size_t n_builds, const struct lifecycle *fresh, double deviations,
		 struct budget *ret_budget)
{
	int64_t step = step_ms(builds, n_builds, fresh);
	struct moment moments[LIFECYCLE_BUCKETS];
	double worst = -DBL_MAX;
	uint64_t low = 0, high = SLOTS_MAX;
	size_t worst_at = 0;

	for (size_t i = 0; i < LIFECYCLE_BUCKETS; i++) {
		struct moment *moment = &moments[i];
		int64_t ahead = (int64_t)i * step;
		double used;

		moment->mean = 0;
		moment->variance = 0;
		for (size_t j = 0; j < n_builds; j++) {
			struct lifecycle_expectation one;

			lifecycle_expect(builds[j].lifecycle, builds[j].age_ms, builds[j].tasks,
					 ahead, &one);
			moment->mean += one.mean;
			moment->variance += one.variance;
			if (one.mean > 0)
				moment->mean += limit->per_build_extra;
		}
		lifecycle_expect(fresh, 0, 0, ahead, &moment->fresh);
		moment->fresh.mean += limit->per_build_extra;
		used = need(limit, moment, 0, deviations);
		if (used > worst) {
			worst = used;
			worst_at = i;
		}
	}
	/* fits() is monotonic in slots: halve the interval. */
	while (low < high) {
		uint64_t middle = low + (high - low + 1) / 2;

		if (fits(limit, moments, (double)middle, deviations))
			low = middle;
		else
			high = middle - 1;
	}
	ret_budget->slots = (int64_t)low;
	if (low == 0) {
		double over = fmax(worst - (limit->max - limit->reserve), 0);
		double per_build = fmax(lifecycle_peak(fresh) + limit->per_build_extra, 1);

		ret_budget->slots = -1 - (int64_t)fmin(ceil(over / per_build), SLOTS_MAX);
	}
	ret_budget->expected_headroom = (int64_t)headroom_clamped(limit->max - worst);
	ret_budget->worst_ms = (int64_t)worst_at * step;
	ret_budget->per_build = lifecycle_peak(fresh) + limit->per_build_extra;
}
