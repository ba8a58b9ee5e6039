// SPDX-License-Identifier: Apache-2.0
/* Snapshots made by hand through the whole decision: which limit is judged, who counts as a build. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/judge.h"

static const struct judge_config config = {
	.policy = {
		.enter_ratio = 0.25,
		.leave_ratio = 0.35,
		.reserve_ratio = 0.10,
		.min_dwell_ms = 10000,
		.max_age_ms = 5000,
		.hold_expiry_ms = 30000,
	},
	.prior_tasks = 86,
	.deviations = 2.33,
	.shim_tasks = 12,
	.unknown_ms = 30000,
};

static void add_pod(struct snapshot *snapshot, int number, const char *builder, bool known,
		    uint64_t tasks, int64_t age_ms)
{
	struct pod_row *pod = snapshot_add_pod(snapshot);

	assert_non_null(pod);
	snprintf(pod->uid, sizeof(pod->uid), "uid-%d", number);
	snprintf(pod->builder, sizeof(pod->builder), "%s", builder);
	pod->is_build = builder[0] != '\0';
	pod->known = known;
	pod->tasks = tasks;
	pod->age_ms = age_ms;
}

static void test_pressed_limit(void **state)
{
	struct policy_decision decision;
	struct judge_forecast forecast;
	struct snapshot snapshot = { .sequence = 1 };
	struct judge *judge;

	(void)state;
	assert_int_equal(judge_new(&config, &judge), 0);
	snapshot_reset(&snapshot);
	assert_int_equal(judge_decide(judge, &snapshot, true, 0, &forecast, &decision), 0);
	assert_false(forecast.known);
	assert_int_equal(decision.level, POLICY_NORMAL);

	limit_set_add(&snapshot.node.limits, LIMIT_SCOPE_NODE_PIDS, "pid_max", 5000, 32768);
	limit_set_add(&snapshot.node.limits, LIMIT_SCOPE_CGROUP, "/kubepods", 4000, 31768);
	assert_int_equal(judge_decide(judge, &snapshot, true, 0, &forecast, &decision), 0);
	assert_true(forecast.known);
	assert_string_equal(forecast.limit, "pid_max");
	assert_int_equal(forecast.headroom, 32768 - 300 - 5000);
	/* Under pid_max a build costs its 86 and 12 of its shim: (32468 * 0.9 - 5000) / 98; under
	 * /kubepods 86 alone: (31768 * 0.9 - 4000) / 86. The first is less. */
	assert_int_equal(forecast.budget, 247);
	assert_int_equal(forecast.per_build, 98);
	judge_free(judge);
	snapshot_done(&snapshot);
}

/* Builds just begun: headroom is ample and all gone at their height. */
static void test_young_builds(void **state)
{
	struct policy_decision decision;
	struct judge_forecast forecast;
	struct snapshot snapshot = { .sequence = 1 };
	struct judge *judge;

	(void)state;
	assert_int_equal(judge_new(&config, &judge), 0);
	snapshot_reset(&snapshot);
	for (int i = 0; i < 8; i++)
		add_pod(&snapshot, i, "job", true, 10, 1000);
	/* Named by nobody yet, and young: counts. Older than 30 s: no build. Known, no builder: none. */
	add_pod(&snapshot, 20, "", false, 10, 2000);
	add_pod(&snapshot, 21, "", false, 10, 31000);
	add_pod(&snapshot, 22, "", true, 10, 1000);
	limit_set_add(&snapshot.node.limits, LIMIT_SCOPE_CGROUP, "node", 140, 1000);
	assert_int_equal(judge_decide(judge, &snapshot, true, 0, &forecast, &decision), 0);
	assert_int_equal(forecast.running, 9);
	assert_int_equal(forecast.headroom, 860);
	/* 50 of others, nine at 86 */
	assert_int_equal(forecast.expected_headroom, 1000 - 50 - 9 * 86);
	/* 950 - 774 - 100 < 86: none may begin, and one that ends leaves no room yet */
	assert_int_equal(forecast.budget, 8);
	assert_int_equal(decision.level, POLICY_THROTTLE);
	assert_true(decision.throttle);
	assert_int_equal(decision.max_concurrent, 8);
	judge_free(judge);
	snapshot_done(&snapshot);
}

/* The same snapshot again is not learned from twice, and grows old. */
static void test_stale(void **state)
{
	struct policy_decision decision;
	struct judge_forecast forecast;
	struct snapshot snapshot = { .sequence = 1 };
	struct build_table_totals totals;
	struct judge *judge;

	(void)state;
	assert_int_equal(judge_new(&config, &judge), 0);
	snapshot_reset(&snapshot);
	add_pod(&snapshot, 1, "job", true, 10, 1000);
	limit_set_add(&snapshot.node.limits, LIMIT_SCOPE_CGROUP, "node", 100, 1000);
	assert_int_equal(judge_decide(judge, &snapshot, true, 0, &forecast, &decision), 0);
	snapshot.n_pods = 0;
	assert_int_equal(judge_decide(judge, &snapshot, false, 90000, &forecast, &decision), 0);
	build_table_totals(judge_builds(judge), &totals);
	assert_int_equal(totals.started, 1);
	assert_int_equal(totals.ended, 0);
	assert_int_equal(forecast.running, 1);
	assert_int_equal(judge_decide(judge, &snapshot, true, 90000, &forecast, &decision), 0);
	build_table_totals(judge_builds(judge), &totals);
	assert_int_equal(totals.ended, 1);
	judge_free(judge);
	snapshot_done(&snapshot);
}

/* Two builders of different size: the plan for new builds follows the one that runs most. */
static void test_builders(void **state)
{
	struct policy_decision decision;
	struct judge_forecast forecast = { 0 };
	struct snapshot snapshot = { .sequence = 1 };
	struct judge *judge;

	(void)state;
	assert_int_equal(judge_new(&config, &judge), 0);
	/* Ten builds each, a new one begins when one ends after 20 s; kaniko at 20, tekton at 200. */
	for (int64_t now = 0; now < 400000; now += 500) {
		snapshot_reset(&snapshot);
		for (int i = 0; i < 10; i++) {
			int64_t begun = now / 20000;

			add_pod(&snapshot, (int)begun * 100 + i, "kaniko", true, 20, now % 20000);
		}
		for (int i = 0; i < 3; i++) {
			int64_t begun = now / 20000;

			add_pod(&snapshot, (int)begun * 100 + 50 + i, "tekton", true, 200,
				now % 20000);
		}
		limit_set_add(&snapshot.node.limits, LIMIT_SCOPE_CGROUP, "node", 800, 10000);
		snapshot.mono_ms = now;
		assert_int_equal(judge_decide(judge, &snapshot, true, now, &forecast, &decision),
				 0);
	}
	assert_int_equal(forecast.per_build, 20);
	/* At most those running: 10 x 20 + 3 x 200; the rest of the limit in builds of 20. */
	assert_true(forecast.budget >= 13 + (10000 - 1000 - 800) / 20 &&
		    forecast.budget <= 13 + 9000 / 20);
	assert_int_equal(build_table_peak(judge_builds(judge), "uid-1900"), 20);
	assert_int_equal(build_table_peak(judge_builds(judge), "uid-1950"), 200);
	assert_int_equal(build_table_peak(judge_builds(judge), "uid-none"), 0);
	judge_free(judge);
	snapshot_done(&snapshot);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pressed_limit),
		cmocka_unit_test(test_young_builds),
		cmocka_unit_test(test_stale),
		cmocka_unit_test(test_builders),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
