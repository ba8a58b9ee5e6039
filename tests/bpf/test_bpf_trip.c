// SPDX-License-Identifier: Apache-2.0
/* The trip wires: one record per arming, from the right fork, at the right moment. */
#include <time.h>

#include "bpf_test.h"

struct seen {
	int n;
	struct pw_trip last;
};

static void on_trip(const struct pw_trip *trip, void *data)
{
	struct seen *seen = data;

	seen->n++;
	seen->last = *trip;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* Nothing may come: every wire that is not to fire gets this long. */
static void assert_silent(struct bpf_probe *probe, struct seen *seen)
{
	int n = seen->n;

	assert_int_equal(bpf_probe_trip_wait(probe, 100, on_trip, seen), 0);
	assert_int_equal(seen->n, n);
}

static void test_cgroup_threshold(void **state)
{
	char dir[PATH_MAX], inner[PATH_MAX];
	struct bpf_probe *probe = test_probe(NULL);
	struct pw_errors errors;
	struct seen seen = { 0 };
	struct storm storm;
	uint64_t id, inner_id, from;

	(void)state;
	id = test_cgroup_make(NULL, "trip", 100, dir);
	test_cgroup_delegate(dir);
	inner_id = test_cgroup_make(dir, "inner", 100, inner);

	/* Off: nothing. */
	storm_run(&storm, inner, "fork", "20", NULL);
	assert_silent(probe, &seen);

	/* Below the threshold: nothing. The storm and its one child at a time are 2. */
	bpf_probe_arm_cgroup(probe, id, 3);
	storm_run(&storm, inner, "fork", "50", NULL);
	assert_silent(probe, &seen);

	/*
	 * Twenty held children cross 10 once; the watched cgroup is the parent of the one that
	 * forks.
	 */
	bpf_probe_arm_cgroup(probe, id, 10);
	from = now_ns();
	storm_start(&storm, inner, "hold", "20", "0");
	storm_wait_ready(&storm);
	assert_int_equal(bpf_probe_trip_wait(probe, 1000, on_trip, &seen), 1);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.last.limit, PW_TRIP_CGROUP_TASKS);
	/* The fork that made the tenth task: not one earlier, not one later. */
	assert_int_equal(seen.last.value, 10);
	assert_int_equal(seen.last.threshold, 10);
	assert_int_equal(seen.last.cgroup_id, inner_id);
	assert_int_equal(seen.last.tgid, storm.tgid);
	assert_string_equal(seen.last.comm, "storm");
	assert_true(seen.last.ktime_ns >= from && seen.last.ktime_ns <= now_ns());
	storm_end(&storm);
	assert_silent(probe, &seen);

	/* Fired: silent until armed again, then exactly one more. */
	storm_start(&storm, inner, "hold", "20", "0");
	storm_wait_ready(&storm);
	storm_end(&storm);
	assert_silent(probe, &seen);
	bpf_probe_arm_cgroup(probe, id, 10);
	storm_start(&storm, inner, "hold", "20", "2");
	storm_wait_ready(&storm);
	storm_end(&storm);
	assert_int_equal(bpf_probe_trip_consume(probe, on_trip, &seen), 1);
	assert_int_equal(seen.n, 2);

	/* Another cgroup's crossing is none of ours. */
	bpf_probe_arm_cgroup(probe, inner_id + 1000000, 2);
	storm_run(&storm, inner, "fork", "50", NULL);
	assert_silent(probe, &seen);

	/* Disarmed. */
	bpf_probe_arm_cgroup(probe, id, 2);
	bpf_probe_arm_cgroup(probe, id, 0);
	storm_run(&storm, inner, "fork", "50", NULL);
	assert_silent(probe, &seen);

	bpf_probe_errors(probe, &errors);
	assert_int_equal(errors.lost_trips, 0);
	test_cgroup_remove(inner);
	test_cgroup_remove(dir);
	bpf_probe_free(probe);
}

/* The node's own count: the threshold is put where only this storm's many forks take it. */
static void test_pid_allocated(void **state)
{
	struct bpf_probe *probe = test_probe(NULL);
	uint64_t allocated, pid_max, threshold;
	struct seen seen = { 0 };
	struct storm storm;
	char dir[PATH_MAX];
	int arming;

	(void)state;
	test_cgroup_make(NULL, "alloc", 400, dir);
	for (arming = 1; arming <= 2; arming++) {
		assert_int_equal(bpf_probe_node_pids(probe, &allocated, &pid_max), 0);
		threshold = allocated + 200;
		bpf_probe_arm_pid_allocated(probe, threshold);
		assert_silent(probe, &seen);
		storm_start(&storm, dir, "hold", "300", "0");
		storm_wait_ready(&storm);
		assert_int_equal(bpf_probe_trip_wait(probe, 1000, on_trip, &seen), 1);
		assert_int_equal(seen.n, arming);
		assert_int_equal(seen.last.limit, PW_TRIP_PID_ALLOCATED);
		assert_int_equal(seen.last.threshold, threshold);
		/* Another CPU may have forked between the crossing and the look. */
		assert_in_range(seen.last.value, threshold, threshold + 16);
		storm_end(&storm);
		assert_silent(probe, &seen);
	}
	bpf_probe_arm_pid_allocated(probe, 0);
	test_cgroup_remove(dir);
	bpf_probe_free(probe);
}

/* Two CPUs over the threshold at once, armed again and again: never two calls for one arming. */
static void test_one_per_arming(void **state)
{
	const int armings = test_slow() ? 200 : 2000;
	struct bpf_probe *probe = test_probe(NULL);
	struct storm a, b, c, d;
	struct seen seen = { 0 };
	struct pw_errors errors;
	char dir[PATH_MAX];
	uint64_t id;
	int i;

	(void)state;
	id = test_cgroup_make(NULL, "many", 50, dir);
	storm_start(&a, dir, "endless", "3000", NULL);
	storm_start(&b, dir, "endless", "3000", NULL);
	storm_start(&c, dir, "endless", "3000", NULL);
	storm_start(&d, dir, "endless", "3000", NULL);
	for (i = 0; i < armings; i++) {
		int n, before = seen.n;

		bpf_probe_arm_cgroup(probe, id, 1);
		n = bpf_probe_trip_wait(probe, 1000, on_trip, &seen);
		/* A wakeup by a duplicate that was thrown away gives 0. */
		assert_in_range(n, 0, 1);
		if (n == 0)
			n = bpf_probe_trip_wait(probe, 1000, on_trip, &seen);
		assert_int_equal(seen.n, before + 1);
		assert_int_equal(bpf_probe_trip_consume(probe, on_trip, &seen), 0);
	}
	bpf_probe_arm_cgroup(probe, id, 0);
	storm_end(&a);
	storm_end(&b);
	storm_end(&c);
	storm_end(&d);
	bpf_probe_errors(probe, &errors);
	assert_int_equal(errors.lost_trips, 0);
	test_cgroup_remove(dir);
	bpf_probe_free(probe);
}

/* Says what an armed wire costs: a row for each state, over the same storm. */
static void test_cost(void **state)
{
	static const char *const rows[] = { "off", "pid_allocated", "cgroup", "both" };
	struct bpf_probe *probe = test_probe(NULL);
	struct bpf_probe_cost before, after;
	char dir[PATH_MAX];
	struct storm storm;
	unsigned int i;

	(void)state;
	test_cgroup_make(NULL, "cost", 50, dir);
	assert_int_equal(bpf_probe_stats_enable(probe), 0);
	for (i = 0; i < 4; i++) {
		bpf_probe_arm_pid_allocated(probe, i & 1 ? UINT32_MAX : 0);
		/* Never found: walks all the way to the root. */
		bpf_probe_arm_cgroup(probe, UINT64_MAX, i & 2 ? UINT32_MAX : 0);
		bpf_probe_cost(probe, 0, &before);
		storm_run(&storm, dir, "thread", test_slow() ? "2000" : "20000", NULL);
		bpf_probe_cost(probe, 0, &after);
		print_message("wires %-14s %" PRIu64 " ns each of %" PRIu64 " runs\n", rows[i],
			      (after.run_time_ns - before.run_time_ns) /
				      (after.run_cnt - before.run_cnt),
			      after.run_cnt - before.run_cnt);
	}
	bpf_probe_stats_disable(probe);
	test_cgroup_remove(dir);
	bpf_probe_free(probe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cgroup_threshold),
		cmocka_unit_test(test_pid_allocated),
		cmocka_unit_test(test_one_per_arming),
		cmocka_unit_test(test_cost),
	};
	int skip = test_need_bpf();

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
