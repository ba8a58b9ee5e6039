/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many tasks a build of one builder has at which age, and how long it lives, learned from the
 * builds that were seen: mean and variance of tasks by age, survival by the Kaplan-Meier product,
 * so that builds still running, or found half-way, teach without bias.
 * Refuses: clocks and build identities; the caller says how old a build is.
 */
#ifndef PIDWARDEN_CORE_LIFECYCLE_H
#define PIDWARDEN_CORE_LIFECYCLE_H

#include <stdint.h>

#define LIFECYCLE_BUCKETS 64
#define LIFECYCLE_FIRST_WIDTH_MS 100
/* Buckets that fewer builds have reached are unknown: the prior answers for them. */
#define LIFECYCLE_MIN_BUILDS 5

struct lifecycle_bucket {
	double builds; /* that reached this age while watched */
	double ended; /* of those, ended at this age */
	double samples;
	double mean; /* tasks */
	double m2; /* sum of squared deviations (Welford) */
};

struct lifecycle {
	/* Width in ms; doubled, and neighbours merged, when a build outlives the last bucket. */
	int64_t width_ms;
	double prior_tasks; /* per build, its sandbox included; in force where nothing was learned */
	double ended; /* builds that ended, since counts were last halved */
	double peak_mean, peak_m2; /* of the highest tasks of ended builds */
	double peaks;
	struct lifecycle_bucket buckets[LIFECYCLE_BUCKETS];
};

struct lifecycle_expectation {
	double mean; /* tasks */
	double variance;
};

void lifecycle_init(struct lifecycle *lifecycle, double prior_tasks);
/* One look at a living build. @previous_age_ms: its age at the last look, -1 for the first. */
void lifecycle_observe(struct lifecycle *lifecycle, int64_t previous_age_ms, int64_t age_ms,
		       uint64_t tasks);
/* A build ended at @age_ms, having had @peak tasks at most. */
void lifecycle_end(struct lifecycle *lifecycle, int64_t age_ms, uint64_t peak);
/*
 * What a build that is @age_ms old and has @tasks now (0 at age 0: not started) will have
 * @ahead_ms from now; a build that may have ended by then counts with its chance to live.
 */
void lifecycle_expect(const struct lifecycle *lifecycle, int64_t age_ms, uint64_t tasks,
		      int64_t ahead_ms, struct lifecycle_expectation *ret_expectation);
/* Tasks of a build at its height: mean plus one and a half deviations of the peaks seen, or the
 * prior while fewer than LIFECYCLE_MIN_BUILDS have ended. */
double lifecycle_peak(const struct lifecycle *lifecycle);

#endif
