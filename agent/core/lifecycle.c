// SPDX-License-Identifier: Apache-2.0
#include "core/lifecycle.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

/* After this many builds all counts are halved, so that a builder that changes is learned anew. */
#define HALVE_AFTER 256

void lifecycle_init(struct lifecycle *lifecycle, double prior_tasks)
{
	memset(lifecycle, 0, sizeof(*lifecycle));
	lifecycle->width_ms = LIFECYCLE_FIRST_WIDTH_MS;
	lifecycle->prior_tasks = prior_tasks;
}

/* Mean and squared deviations of two sets of samples together (Chan's formula). */
static void bucket_merge(struct lifecycle_bucket *into, const struct lifecycle_bucket *from)
{
	double n = into->samples + from->samples, delta = from->mean - into->mean;

	if (from->samples > 0) {
		into->m2 += from->m2 + delta * delta * into->samples * from->samples / n;
		into->mean += delta * from->samples / n;
		into->samples = n;
	}
}

static void widen(struct lifecycle *lifecycle)
{
	struct lifecycle_bucket *buckets = lifecycle->buckets;

	for (size_t i = 0; i < LIFECYCLE_BUCKETS / 2; i++) {
		struct lifecycle_bucket merged = buckets[2 * i];
		const struct lifecycle_bucket *second = &buckets[2 * i + 1];

		bucket_merge(&merged, second);
		/* Those that reached the second half have been counted in the first, but for the
		 * ones first seen in it. */
		merged.builds = fmax(merged.builds, second->builds + merged.ended);
		merged.ended += second->ended;
		buckets[i] = merged;
	}
	memset(&buckets[LIFECYCLE_BUCKETS / 2], 0,
	       sizeof(buckets[0]) * (LIFECYCLE_BUCKETS - LIFECYCLE_BUCKETS / 2));
	lifecycle->width_ms *= 2;
}

static int64_t bucket_index(const struct lifecycle *lifecycle, int64_t age_ms)
{
	return (age_ms > 0 ? age_ms : 0) / lifecycle->width_ms;
}

static const struct lifecycle_bucket *bucket_at(const struct lifecycle *lifecycle, int64_t age_ms)
{
	int64_t index = bucket_index(lifecycle, age_ms);

	return &lifecycle->buckets[index < LIFECYCLE_BUCKETS ? index : LIFECYCLE_BUCKETS - 1];
}

void lifecycle_observe(struct lifecycle *lifecycle, int64_t previous_age_ms, int64_t age_ms,
		       uint64_t tasks)
{
	struct lifecycle_bucket *bucket;
	int64_t first, last;
	double delta;

	while (bucket_index(lifecycle, age_ms) >= LIFECYCLE_BUCKETS)
		widen(lifecycle);
	last = bucket_index(lifecycle, age_ms);
	first = previous_age_ms < 0 ? last : bucket_index(lifecycle, previous_age_ms) + 1;
	for (int64_t i = first; i <= last; i++)
		lifecycle->buckets[i].builds++;
	bucket = &lifecycle->buckets[last];
	bucket->samples++;
	delta = (double)tasks - bucket->mean;
	bucket->mean += delta / bucket->samples;
	bucket->m2 += delta * ((double)tasks - bucket->mean);
}

static void halve(struct lifecycle *lifecycle)
{
	for (size_t i = 0; i < LIFECYCLE_BUCKETS; i++) {
		struct lifecycle_bucket *bucket = &lifecycle->buckets[i];

		bucket->builds /= 2;
		bucket->ended /= 2;
		bucket->samples /= 2;
		bucket->m2 /= 2;
	}
	lifecycle->ended /= 2;
	lifecycle->peaks /= 2;
	lifecycle->peak_m2 /= 2;
}

void lifecycle_end(struct lifecycle *lifecycle, int64_t age_ms, uint64_t peak)
{
	struct lifecycle_bucket *bucket;
	double delta;

	while (bucket_index(lifecycle, age_ms) >= LIFECYCLE_BUCKETS)
		widen(lifecycle);
	bucket = &lifecycle->buckets[bucket_index(lifecycle, age_ms)];
	bucket->ended++;
	bucket->builds = fmax(bucket->builds, bucket->ended);
	lifecycle->peaks++;
	delta = (double)peak - lifecycle->peak_mean;
	lifecycle->peak_mean += delta / lifecycle->peaks;
	lifecycle->peak_m2 += delta * ((double)peak - lifecycle->peak_mean);
	if (++lifecycle->ended >= HALVE_AFTER)
		halve(lifecycle);
}

/* Chance to outlive all buckets from that of @from_ms up to, not including, that of @to_ms. */
static double survival(const struct lifecycle *lifecycle, int64_t from_ms, int64_t to_ms)
{
	int64_t to = bucket_index(lifecycle, to_ms);
	double alive = 1;

	if (to > LIFECYCLE_BUCKETS)
		to = LIFECYCLE_BUCKETS;
	for (int64_t i = bucket_index(lifecycle, from_ms); i < to; i++) {
		const struct lifecycle_bucket *bucket = &lifecycle->buckets[i];

		if (bucket->builds >= LIFECYCLE_MIN_BUILDS)
			alive *= 1 - bucket->ended / bucket->builds;
	}
	return alive > 0 ? alive : 0;
}

static double bucket_variance(const struct lifecycle_bucket *bucket)
{
	return bucket->samples > 1 ? bucket->m2 / (bucket->samples - 1) : 0;
}

void lifecycle_expect(const struct lifecycle *lifecycle, int64_t age_ms, uint64_t tasks,
		      int64_t ahead_ms, struct lifecycle_expectation *ret_expectation)
{
	const struct lifecycle_bucket *then = bucket_at(lifecycle, age_ms + ahead_ms);
	const struct lifecycle_bucket *now = bucket_at(lifecycle, age_ms);
	double mean, variance, alive;

	if (ahead_ms == 0 && age_ms > 0) {
		ret_expectation->mean = (double)tasks;
		ret_expectation->variance = 0;
		return;
	}
	mean = then->mean;
	variance = bucket_variance(then);
	if (then->builds < LIFECYCLE_MIN_BUILDS) {
		mean = fmax(lifecycle_peak(lifecycle), (double)tasks);
		variance = 0;
	} else if (age_ms > 0 && now->builds >= LIFECYCLE_MIN_BUILDS) {
		/* A build far larger than its peers stays so for a while. A smaller one gets no
		 * credit: it may just be late. */
		double excess = (double)tasks - now->mean - 2 * sqrt(bucket_variance(now));

		if (excess > 0)
			mean += excess *
				exp2(-(double)ahead_ms / (double)(8 * lifecycle->width_ms));
	}
	alive = survival(lifecycle, age_ms, age_ms + ahead_ms);
	ret_expectation->mean = alive * mean;
	ret_expectation->variance = alive * (variance + mean * mean) - alive * alive * mean * mean;
}

double lifecycle_peak(const struct lifecycle *lifecycle)
{
	if (lifecycle->peaks < LIFECYCLE_MIN_BUILDS)
		return lifecycle->prior_tasks;
	return lifecycle->peak_mean +
	       1.5 * sqrt(lifecycle->peak_m2 / fmax(lifecycle->peaks - 1, 1));
}
