// SPDX-License-Identifier: Apache-2.0
/* Thresholds, hysteresis and dwell by table; and properties that must hold for any input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "core/policy.h"

static const struct policy_config config = {
	.enter_ratio = 0.25,
	.leave_ratio = 0.35,
	.reserve_ratio = 0.10,
	.min_dwell_ms = 10000,
	.max_age_ms = 5000,
	.hold_expiry_ms = 30000,
};

static const struct limit limit_1000 = {
	.name = "pid_max",
	.max = 1000,
	.configured = 1300,
};

static struct policy_input input_at(int64_t now_ms, uint64_t headroom)
{
	return (struct policy_input){
		.now_ms = now_ms,
		.binding = &limit_1000,
		.headroom = headroom,
		.expected_headroom = (int64_t)headroom,
		.n_builds = 8,
		.budget = 9,
		.build_share = 0.9,
	};
}

static void test_walk(void **state)
{
	static const struct {
		int64_t now_ms;
		uint64_t headroom;
		enum policy_level level;
		bool changed;
		bool throttle;
	} steps[] = {
		{ 0, 900, POLICY_NORMAL, false, false },
		{ 1000, 420, POLICY_WATCH, true, false },
		{ 2000, 249, POLICY_THROTTLE, true, true },
		/* between enter and leave: stays, however long */
		{ 60000, 300, POLICY_THROTTLE, false, true },
		{ 120000, 349, POLICY_THROTTLE, false, true },
		/* above leave: one step, then only after the dwell */
		{ 121000, 400, POLICY_WATCH, true, false },
		{ 122000, 900, POLICY_WATCH, false, false },
		{ 131000, 900, POLICY_NORMAL, true, false },
		/* straight to hold when the reserve is half gone, and no dwell on the way up */
		{ 132000, 49, POLICY_HOLD, true, true },
		{ 133000, 900, POLICY_HOLD, false, true },
		{ 142000, 900, POLICY_THROTTLE, true, true },
		{ 152000, 900, POLICY_WATCH, true, false },
		{ 162000, 900, POLICY_NORMAL, true, false },
	};
	struct policy_state policy = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct policy_input input = input_at(steps[i].now_ms, steps[i].headroom);
		struct policy_decision decision;

		policy_decide(&config, &input, &policy, &decision);
		if (decision.level != steps[i].level || decision.changed != steps[i].changed ||
		    decision.throttle != steps[i].throttle)
			fail_msg("step %zu: %s changed=%d throttle=%d (%s)", i,
				 policy_level_name(decision.level), decision.changed,
				 decision.throttle, decision.reason);
	}
}

/* Builds that have just begun will grow: expected headroom counts before headroom does. */
static void test_expected(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	struct policy_input input = input_at(0, 900);

	(void)state;
	input.expected_headroom = 200;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	assert_true(decision.throttle);
	assert_int_equal(decision.max_concurrent, 9);
	assert_string_equal(decision.reason,
			    "throttle: 900 of 1000 PIDs left under pid_max, 200 when the 8 running "
			    "builds are at their height; at most 9 may run");
	input.expected_headroom = -300;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	assert_non_null(
		strstr(decision.reason, ", 300 too few for the 8 running builds at their height"));
}

static void test_blame(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	struct policy_input input = input_at(0, 100);

	(void)state;
	input.build_share = 0.24;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	assert_false(decision.throttle);
	assert_non_null(strstr(decision.reason, "builds hold 24 % of what is used"));
	input.build_share = 0.25;
	policy_decide(&config, &input, &policy, &decision);
	assert_true(decision.throttle);
	input.n_builds = 0;
	policy_decide(&config, &input, &policy, &decision);
	assert_false(decision.throttle);
}

static void test_one_slot_stays(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	struct policy_input input = input_at(0, 10);

	(void)state;
	input.budget = 0;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.max_concurrent, 1);
	/* hold lets half of them end before another begins */
	input.budget = 9;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_HOLD);
	assert_int_equal(decision.max_concurrent, 4);
}

static void test_stale(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	struct policy_input input = input_at(0, 900);

	(void)state;
	policy_decide(&config, &input, &policy, &decision);
	input = input_at(1000, 10);
	input.counts_age_ms = 5001;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_NORMAL);
	input.counts_age_ms = 5000;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_HOLD);
	/* In force on stale counts: held to its expiry, then down one step an expiry. */
	input = input_at(30999, 900);
	input.counts_age_ms = 60000;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_HOLD);
	input.now_ms = 31000;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	input.now_ms = 60999;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	input.now_ms = 91000;
	policy_decide(&config, &input, &policy, &decision);
	input.now_ms = 121000;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_NORMAL);
}

static void test_no_limit(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	struct policy_input input = input_at(0, 0);

	(void)state;
	input.binding = NULL;
	policy_decide(&config, &input, &policy, &decision);
	assert_int_equal(decision.level, POLICY_NORMAL);
	assert_false(decision.throttle);
}

/* From any state, with everything else equal: more headroom never gives a higher level, stale counts
 * never a higher one than before, and the same input gives the same output. */
static void test_properties(void **state)
{
	(void)state;
	srand(20261120);
	for (int i = 0; i < 200000; i++) {
		struct policy_state before = {
			.level = (enum policy_level)(rand() % 4),
			.level_since_ms = rand() % 20000,
			.fresh_ms = rand() % 20000,
			.started = true,
		};
		struct policy_input input =
			input_at(20000 + rand() % 20000, (uint64_t)(rand() % 1000));
		struct policy_state low_state = before, high_state = before, same_state = before;
		struct policy_decision low, high, same;
		struct policy_input more = input;

		input.expected_headroom = rand() % 2000 - 1000;
		more.expected_headroom = input.expected_headroom + rand() % 500;
		more.headroom += (uint64_t)(rand() % 500);
		input.n_builds = more.n_builds = (uint64_t)(rand() % 20);
		input.budget = more.budget = (uint64_t)(rand() % 20);
		policy_decide(&config, &input, &low_state, &low);
		policy_decide(&config, &more, &high_state, &high);
		policy_decide(&config, &input, &same_state, &same);
		assert_true(high.level <= low.level);
		assert_memory_equal(&low, &same, sizeof(low));
		assert_true(!low.throttle || low.max_concurrent >= 1);
		input.counts_age_ms = 5001 + rand() % 100000;
		same_state = before;
		policy_decide(&config, &input, &same_state, &same);
		assert_true(same.level <= before.level);
	}
}

/* Whatever happened before, once pressure ends every action is withdrawn within four dwells. */
static void test_withdrawn(void **state)
{
	struct policy_state policy = { 0 };
	struct policy_decision decision;
	int64_t now_ms = 0;

	(void)state;
	srand(7);
	for (int round = 0; round < 200; round++) {
		for (int i = 0; i < 50; i++) {
			struct policy_input input = input_at(now_ms, (uint64_t)(rand() % 1000));

			now_ms += 500;
			policy_decide(&config, &input, &policy, &decision);
		}
		for (int64_t end = now_ms + 40000; now_ms <= end; now_ms += 500) {
			struct policy_input input = input_at(now_ms, 990);

			policy_decide(&config, &input, &policy, &decision);
		}
		assert_false(decision.throttle);
		assert_int_equal(decision.level, POLICY_NORMAL);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_walk),	   cmocka_unit_test(test_expected),
		cmocka_unit_test(test_blame),	   cmocka_unit_test(test_one_slot_stays),
		cmocka_unit_test(test_stale),	   cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_properties), cmocka_unit_test(test_withdrawn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
