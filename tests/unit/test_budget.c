// SPDX-License-Identifier: Apache-2.0
/*
 * Life cycle and budget against builds whose truth is known because the test makes them: ramps of
 * known height and length. What was learned is compared with the truth, and plans are played out:
 * the builds that were allowed are run, and their sum must stay below the limit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/lifecycle.h"
#include "core/window.h"

#define TICK_MS 500
#define PRIOR 86

struct truth {
	int64_t start_ms, length_ms;
	double height;
	int64_t seen_ms; /* age at the last look, -1: never looked at */
	uint64_t peak;
};

/* Rises over the first quarter, stays, falls over the last quarter. */
static uint64_t tasks_at(const struct truth *build, int64_t age_ms)
{
	double part = (double)age_ms / (double)build->length_ms;

	if (age_ms < 0 || part >= 1)
		return 0;
	if (part < 0.25)
		return (uint64_t)(2 + build->height * part * 4);
	if (part > 0.75)
		return (uint64_t)(2 + build->height * (1 - part) * 4);
	return (uint64_t)(2 + build->height);
}

/* xorshift64: the same builds on every machine. */
static uint64_t seed = 88172645463325252ULL;

static uint64_t draw(uint64_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % n;
}

static struct truth new_build(int64_t start_ms)
{
	return (struct truth){
		.start_ms = start_ms,
		.length_ms = 30000 + (int64_t)draw(30000),
		.height = 58 + (double)draw(26),
		.seen_ms = -1,
	};
}

static bool look(struct lifecycle *lifecycle, struct truth *build, int64_t now_ms)
{
	int64_t age = now_ms - build->start_ms;
	uint64_t tasks = tasks_at(build, age);

	if (age >= build->length_ms) {
		lifecycle_end(lifecycle, build->seen_ms, build->peak);
		return false;
	}
	lifecycle_observe(lifecycle, build->seen_ms, age, tasks);
	build->seen_ms = age;
	if (tasks > build->peak)
		build->peak = tasks;
	return true;
}

static void learn(struct lifecycle *lifecycle, int n)
{
	for (int i = 0; i < n; i++) {
		struct truth build = new_build(0);

		for (int64_t now = 0; look(lifecycle, &build, now); now += TICK_MS)
			;
	}
}

static void test_prior(void **state)
{
	struct lifecycle lifecycle;
	struct lifecycle_expectation expectation;

	(void)state;
	lifecycle_init(&lifecycle, PRIOR);
	for (int64_t ahead = 0; ahead < 4000000; ahead += 100000) {
		lifecycle_expect(&lifecycle, 0, 0, ahead, &expectation);
		assert_true(expectation.mean == PRIOR);
	}
	assert_true(lifecycle_peak(&lifecycle) == PRIOR);
	/* A build beyond the prior is believed. */
	lifecycle_expect(&lifecycle, 1000, 300, 5000, &expectation);
	assert_true(expectation.mean == 300);
}

static void test_learned(void **state)
{
	struct lifecycle lifecycle;
	struct lifecycle_expectation expectation;
	double truth = 0;
	const int n = 4000;

	(void)state;
	lifecycle_init(&lifecycle, PRIOR);
	learn(&lifecycle, 200);
	/* Builds of 30 to 60 s do not fit 64 buckets of 100 ms: widened until they do. */
	assert_int_equal(lifecycle.width_ms, 1600);
	/* 20 s after its start: the mean over fresh builds, drawn independently. */
	for (int i = 0; i < n; i++) {
		struct truth build = new_build(0);

		truth += (double)tasks_at(&build, 20500) / n;
	}
	lifecycle_expect(&lifecycle, 0, 0, 20000, &expectation);
	assert_true(fabs(expectation.mean - truth) < 4);
	/* Nobody lives longer than a minute; the last few that nearly did leave a small chance. */
	lifecycle_expect(&lifecycle, 0, 0, 64000, &expectation);
	assert_true(expectation.mean < 5);
	/* A build at its height, 28 s old, is expected to have fallen or gone 25 s later. */
	lifecycle_expect(&lifecycle, 28000, 75, 25000, &expectation);
	assert_true(expectation.mean < 30);
	/* Heights are 60..86 (58..83 and the two that every build has). */
	assert_true(lifecycle_peak(&lifecycle) > 75 && lifecycle_peak(&lifecycle) < 92);
}

/* The agent came while builds were half-way: what it did not see must not look like early death. */
static void test_late_start(void **state)
{
	struct lifecycle lifecycle;
	struct lifecycle_expectation expectation;

	(void)state;
	lifecycle_init(&lifecycle, PRIOR);
	for (int i = 0; i < 100; i++) {
		struct truth build = new_build(-20000);

		for (int64_t now = 0; look(&lifecycle, &build, now); now += TICK_MS)
			;
	}
	lifecycle_expect(&lifecycle, 21000, 70, 4000, &expectation);
	assert_true(expectation.mean > 50);
}

static void test_no_builds(void **state)
{
	struct budget_limit limit = { .max = 1000, .reserve = 100, .other = 40 };
	struct lifecycle lifecycle;
	struct budget budget;

	(void)state;
	lifecycle_init(&lifecycle, PRIOR);
	budget_plan(&limit, NULL, 0, &lifecycle, 2.33, &budget);
	/* (1000 - 100 - 40) / 86 */
	assert_int_equal(budget.slots, 10);
	assert_int_equal(budget.expected_headroom, 960);
	limit.per_build_extra = 12;
	budget_plan(&limit, NULL, 0, &lifecycle, 2.33, &budget);
	assert_int_equal(budget.slots, 8);
	limit.other = 2000;
	budget_plan(&limit, NULL, 0, &lifecycle, 2.33, &budget);
	assert_int_equal(budget.expected_headroom, -1000);
	/* 1,100 too many: twelve builds of 98 would have to be away, and one more end, before one begins */
	assert_int_equal(budget.slots, -13);
}

/*
 * Played out for 20 minutes: a generator that always wants more starts a build whenever fewer run than
 * the plan's number, which it hears of one tick late. The sum of what the builds really use must never
 * pass the limit; and the plan must not be timid: by peaks alone (1200 - 120) / 86 = 12 would run.
 */
static void test_played_out(void **state)
{
	struct budget_limit limit = { .max = 1200, .reserve = 120, .other = 0 };
	struct truth running[200];
	struct lifecycle lifecycle;
	size_t n = 0, most_running = 0;
	uint64_t highest = 0;
	double sum_running = 0;
	const int64_t end_ms = 1200000;
	int64_t allowed = 10, heard;

	(void)state;
	lifecycle_init(&lifecycle, PRIOR);
	for (int64_t now = 0; now < end_ms; now += TICK_MS) {
		struct budget_build builds[200];
		struct budget budget;
		uint64_t sum = 0;

		for (size_t i = 0; i < n;) {
			if (look(&lifecycle, &running[i], now)) {
				sum += tasks_at(&running[i], now - running[i].start_ms);
				i++;
			} else {
				running[i] = running[--n];
			}
		}
		if (sum > highest)
			highest = sum;
		for (size_t i = 0; i < n; i++)
			builds[i] = (struct budget_build){
				.lifecycle = &lifecycle,
				.age_ms = now - running[i].start_ms,
				.tasks = tasks_at(&running[i], now - running[i].start_ms),
			};
		heard = allowed;
		budget_plan(&limit, builds, n, &lifecycle, 2.33, &budget);
		allowed = (int64_t)n + budget.slots;
		/* At most three a second. */
		for (int i = 0; i < 2 && (int64_t)n < heard && n < 200; i++)
			running[n++] = new_build(now);
		if (n > most_running)
			most_running = n;
		sum_running += (double)n;
	}
	print_message("highest %lu of 1200, most running %zu, mean running %.1f\n", highest,
		      most_running, sum_running / ((double)end_ms / TICK_MS));
	assert_true(highest <= 1200);
	assert_true(sum_running / ((double)end_ms / TICK_MS) > 13);
}

static void test_window(void **state)
{
	struct window window = { 0 };

	(void)state;
	assert_int_equal(window_percentile(&window, 0.9), 0);
	for (uint64_t i = 1; i <= 10; i++)
		window_add(&window, i * 10);
	assert_int_equal(window_percentile(&window, 0.9), 90);
	assert_int_equal(window_percentile(&window, 1), 100);
	assert_int_equal(window_percentile(&window, 0), 10);
	assert_int_equal(window_percentile(&window, 0.5), 50);
	/* Old samples leave. */
	for (int i = 0; i < WINDOW_SAMPLES; i++)
		window_add(&window, 7);
	assert_int_equal(window_percentile(&window, 1), 7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_prior),	   cmocka_unit_test(test_learned),
		cmocka_unit_test(test_late_start), cmocka_unit_test(test_no_builds),
		cmocka_unit_test(test_played_out), cmocka_unit_test(test_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
