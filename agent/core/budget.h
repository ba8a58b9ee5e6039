/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many builds fit under a limit: what everything else holds, what the running builds will need
 * at their age, and how many new ones may be added so that at no moment ahead the limit less its
 * reserve is passed.
 * Refuses: to choose the limit or to act; core/policy decides what the figures mean.
 */
#ifndef PIDWARDEN_CORE_BUDGET_H
#define PIDWARDEN_CORE_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#include "core/lifecycle.h"

struct budget_build {
	const struct lifecycle *lifecycle; /* of its builder */
	int64_t age_ms;
	uint64_t tasks; /* now */
};

struct budget_limit {
	double max; /* tasks */
	double reserve; /* of max, never planned into */
	double other; /* held by everything that is no build: a high percentile of late */
	double per_build_extra; /* tasks outside the pod that count here: the shim's threads */
};

struct budget {
	/*
	 * Builds that may start now. When none may: negative, so many must end first before one may
	 * begin (-1: a build that ends leaves no room yet, because the plan counts on its end).
	 */
	int64_t slots;
	/* max - (other + builds at the worst moment ahead, with the margin); negative: will not fit */
	int64_t expected_headroom;
	int64_t worst_ms; /* how far ahead that moment is */
	double per_build; /* tasks of one new build at its height, extra included */
};

/*
 * @fresh: life cycle of the builds that would start. @deviations: how many standard deviations of
 * the builds' sum the plan keeps free (2.33: one moment in a hundred).
 */
void budget_plan(const struct budget_limit *limit, const struct budget_build *builds,
		 size_t n_builds, const struct lifecycle *fresh, double deviations,
		 struct budget *ret_budget);

#endif
