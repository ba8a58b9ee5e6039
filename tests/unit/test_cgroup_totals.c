// SPDX-License-Identifier: Apache-2.0
#include "core/cgroup_totals.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct cgroup_totals *make(size_t max)
{
	struct cgroup_totals *totals = NULL;

	assert_int_equal(cgroup_totals_new(max, &totals), 0);
	return totals;
}

/* One figure is enough to follow; the other three go along as its multiples. */
static struct task_totals of(uint64_t n)
{
	return (struct task_totals){ n, 2 * n, 3 * n, 4 * n };
}

static void assert_is(const struct task_totals *t, uint64_t n)
{
	assert_int_equal(t->processes_created, n);
	assert_int_equal(t->threads_created, 2 * n);
	assert_int_equal(t->execs, 3 * n);
	assert_int_equal(t->exits, 4 * n);
}

static void live(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id, uint64_t n)
{
	struct task_totals counts = of(n);

	cgroup_totals_live(totals, id, parent_id, &counts);
}

static void fold(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id, uint64_t n,
		 bool gone)
{
	struct task_totals counts = of(n);

	cgroup_totals_fold(totals, id, parent_id, &counts, gone);
}

static void tick(struct cgroup_totals *totals, uint64_t id, uint64_t parent_id, uint64_t n)
{
	cgroup_totals_begin(totals);
	live(totals, id, parent_id, n);
	cgroup_totals_end(totals);
}

static void assert_own(struct cgroup_totals *totals, uint64_t id, uint64_t n)
{
	const struct cgroup_total *total = cgroup_totals_find(totals, id);

	assert_non_null(total);
	assert_is(&total->own, n);
}

static void assert_inherited(struct cgroup_totals *totals, uint64_t id, uint64_t n)
{
	const struct cgroup_total *total = cgroup_totals_find(totals, id);

	assert_non_null(total);
	assert_is(&total->inherited, n);
}

static void assert_node(struct cgroup_totals *totals, uint64_t n)
{
	struct task_totals node;

	cgroup_totals_node(totals, &node);
	assert_is(&node, n);
}

static void test_live_then_fold(void **state)
{
	struct cgroup_totals *totals = make(100);

	(void)state;
	assert_null(cgroup_totals_find(totals, 7));
	tick(totals, 7, 1, 10);
	assert_own(totals, 7, 10);
	tick(totals, 7, 1, 25);
	assert_own(totals, 7, 25);
	fold(totals, 7, 1, 30, true);
	assert_own(totals, 7, 30);
	assert_true(cgroup_totals_find(totals, 7)->gone);
	assert_node(totals, 30);
	cgroup_totals_free(totals);
	cgroup_totals_free(NULL);
}

/* Read while the kernel side empties the slot: half of it is seen. The total must not fall. */
static void test_torn_read_does_not_fall(void **state)
{
	struct cgroup_totals *totals = make(100);

	(void)state;
	tick(totals, 7, 1, 25);
	tick(totals, 7, 1, 3);
	assert_own(totals, 7, 25);
	assert_node(totals, 25);
	/* Empty, and the record not yet read. */
	cgroup_totals_begin(totals);
	cgroup_totals_end(totals);
	assert_own(totals, 7, 25);
	fold(totals, 7, 1, 26, true);
	assert_own(totals, 7, 26);
	assert_node(totals, 26);
	cgroup_totals_free(totals);
}

/* A fold that arrives inside a tick, on either side of the slot's own reading. */
static void test_fold_within_a_tick(void **state)
{
	struct cgroup_totals *totals = make(100);

	(void)state;
	cgroup_totals_begin(totals);
	live(totals, 7, 1, 10);
	fold(totals, 7, 1, 12, true);
	cgroup_totals_end(totals);
	assert_own(totals, 7, 12);

	tick(totals, 8, 1, 10);
	cgroup_totals_begin(totals);
	fold(totals, 8, 1, 12, false);
	live(totals, 8, 1, 5);
	cgroup_totals_end(totals);
	assert_own(totals, 8, 17);
	cgroup_totals_free(totals);
}

/* v2, pids taken away and given back: the old slot stays owned until its css id is wanted. */
static void test_two_slots(void **state)
{
	struct cgroup_totals *totals = make(100);

	(void)state;
	tick(totals, 7, 1, 100);
	cgroup_totals_begin(totals);
	live(totals, 7, 1, 100);
	live(totals, 7, 1, 5);
	cgroup_totals_end(totals);
	assert_own(totals, 7, 105);
	fold(totals, 7, 1, 100, false);
	assert_own(totals, 7, 105);
	assert_false(cgroup_totals_find(totals, 7)->gone);
	tick(totals, 7, 1, 6);
	assert_own(totals, 7, 106);
	assert_node(totals, 106);
	cgroup_totals_free(totals);
}

static void test_parents_inherit(void **state)
{
	struct cgroup_totals *totals = make(100);
	struct cgroup_totals_stats stats;

	(void)state;
	/* 1 root > 2 pod (no event of its own) > 3 container > 4 inner */
	fold(totals, 4, 3, 40, true);
	fold(totals, 3, 2, 30, true);
	/* Nothing ever counted there: not worth an entry. */
	fold(totals, 99, 2, 0, true);
	assert_null(cgroup_totals_find(totals, 99));
	cgroup_totals_stats(totals, &stats);
	/* The two and their pod, which is to inherit. */
	assert_int_equal(stats.entries, 3);
	assert_int_equal(stats.gone, 2);
	cgroup_totals_settle(totals);
	assert_null(cgroup_totals_find(totals, 4));
	assert_null(cgroup_totals_find(totals, 3));
	assert_inherited(totals, 2, 70);
	assert_own(totals, 2, 0);
	assert_node(totals, 70);
	/*
	 * The pod goes: its fold carries nothing of its own, and still hands on what it
	 * inherited.
	 */
	fold(totals, 2, 1, 0, true);
	cgroup_totals_settle(totals);
	assert_null(cgroup_totals_find(totals, 2));
	assert_inherited(totals, 1, 70);
	assert_node(totals, 70);
	/* A parent nobody knows: counted for the node. */
	fold(totals, 50, 0, 5, true);
	cgroup_totals_settle(totals);
	assert_node(totals, 75);
	cgroup_totals_free(totals);
}

/* Container, pod and one above it go in one tick; only the container ever ran a task. */
static void test_whole_branch_goes(void **state)
{
	struct cgroup_totals *totals = make(1000);
	struct cgroup_totals_stats stats;

	(void)state;
	for (uint64_t id = 100; id < 400; id += 3) {
		fold(totals, id + 2, id + 1, 5, true);
		fold(totals, id + 1, id, 0, true);
		fold(totals, id, 1, 0, true);
		cgroup_totals_settle(totals);
	}
	assert_inherited(totals, 1, 500);
	assert_node(totals, 500);
	cgroup_totals_stats(totals, &stats);
	assert_int_equal(stats.entries, 1);
	cgroup_totals_free(totals);
}

static void test_mark_gone(void **state)
{
	struct cgroup_totals *totals = make(100);

	(void)state;
	assert_int_equal(cgroup_totals_mark_gone(totals, 7), -ENOENT);
	tick(totals, 7, 1, 10);
	assert_int_equal(cgroup_totals_mark_gone(totals, 7), 0);
	assert_int_equal(cgroup_totals_mark_gone(totals, 7), 0);
	cgroup_totals_settle(totals);
	assert_null(cgroup_totals_find(totals, 7));
	assert_inherited(totals, 1, 10);
	cgroup_totals_settle(totals);
	assert_node(totals, 10);
	cgroup_totals_free(totals);
}

static void test_unattributed(void **state)
{
	struct cgroup_totals *totals = make(100);
	struct task_totals counts = of(9), got;

	(void)state;
	cgroup_totals_unattributed(totals, &counts);
	counts = of(4);
	cgroup_totals_unattributed(totals, &counts);
	cgroup_totals_get_unattributed(totals, &got);
	assert_is(&got, 9);
	assert_node(totals, 9);
	cgroup_totals_free(totals);
}

/* 100,000 cgroups that come and go in one pod, none settled by the caller: bounded, and exact. */
static void test_hostile_churn(void **state)
{
	enum {
		MAX = 1000,
		CHURN = 100000
	};
	struct cgroup_totals *totals = make(MAX);
	struct cgroup_totals_stats stats;
	uint64_t i;

	(void)state;
	for (i = 0; i < CHURN; i++) {
		fold(totals, 1000 + i, 2, 1, true);
		cgroup_totals_stats(totals, &stats);
		assert_true(stats.entries <= MAX);
	}
	assert_true(stats.forced_settles > 0);
	assert_node(totals, CHURN);
	cgroup_totals_settle(totals);
	assert_inherited(totals, 2, CHURN);
	cgroup_totals_free(totals);
}

/* More live ones than fit: they are said to be untracked, and counted when they go. */
static void test_hostile_live(void **state)
{
	enum {
		MAX = 100,
		LIVE = 150
	};
	struct cgroup_totals *totals = make(MAX);
	struct cgroup_totals_stats stats;
	uint64_t i;

	(void)state;
	cgroup_totals_begin(totals);
	for (i = 0; i < LIVE; i++)
		live(totals, 1000 + i, 2, 10);
	cgroup_totals_end(totals);
	cgroup_totals_stats(totals, &stats);
	assert_int_equal(stats.entries, MAX);
	assert_int_equal(stats.untracked, LIVE - MAX);
	assert_node(totals, MAX * 10);
	for (i = 0; i < LIVE; i++)
		fold(totals, 1000 + i, 2, 10, true);
	cgroup_totals_settle(totals);
	assert_node(totals, LIVE * 10);
	cgroup_totals_begin(totals);
	cgroup_totals_end(totals);
	cgroup_totals_stats(totals, &stats);
	assert_int_equal(stats.untracked, 0);
	cgroup_totals_free(totals);
}

/* Against a plain model: many cgroups in random states; nothing is lost, nothing falls. */
static void test_conservation(void **state)
{
	enum {
		IDS = 300,
		STEPS = 200000
	};
	static uint64_t slot[IDS];
	struct cgroup_totals *totals = make(200);
	uint64_t truth = 0, last_node = 0;
	struct task_totals node;
	unsigned int seed = 1;
	uint64_t next_id[IDS], base = 1000;
	size_t i, cursor;
	int step;

	(void)state;
	for (i = 0; i < IDS; i++)
		next_id[i] = base++;
	for (step = 0; step < STEPS; step++) {
		i = (size_t)rand_r(&seed) % IDS;
		switch (rand_r(&seed) % 8) {
		case 0: /* removed: folded, and another cgroup takes its place */
			fold(totals, next_id[i], 1 + i % 5, slot[i], true);
			slot[i] = 0;
			next_id[i] = base++;
			break;
		case 1: /* emptied by user space */
			fold(totals, next_id[i], 1 + i % 5, slot[i], false);
			slot[i] = 0;
			break;
		default:
			slot[i]++;
			truth++;
		}
		if (step % 1000 == 0) {
			cgroup_totals_begin(totals);
			for (i = 0; i < IDS; i++) {
				if (slot[i])
					live(totals, next_id[i], 1 + i % 5, slot[i]);
			}
			cgroup_totals_end(totals);
			cgroup_totals_node(totals, &node);
			assert_true(node.processes_created >= last_node);
			assert_true(node.processes_created <= truth);
			last_node = node.processes_created;
		}
		if (step % 7777 == 0)
			cgroup_totals_settle(totals);
	}
	for (i = 0; i < IDS; i++)
		fold(totals, next_id[i], 1 + i % 5, slot[i], true);
	cgroup_totals_settle(totals);
	assert_node(totals, truth);
	/* What is left are the five parents. */
	for (i = 0, cursor = 0; cgroup_totals_next(totals, &cursor);)
		i++;
	assert_int_equal(i, 5);
	cgroup_totals_free(totals);
}

static void test_bad_size(void **state)
{
	struct cgroup_totals *totals;

	(void)state;
	assert_int_equal(cgroup_totals_new(0, &totals), -EINVAL);
	assert_int_equal(cgroup_totals_new(SIZE_MAX, &totals), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_live_then_fold),
		cmocka_unit_test(test_torn_read_does_not_fall),
		cmocka_unit_test(test_fold_within_a_tick),
		cmocka_unit_test(test_two_slots),
		cmocka_unit_test(test_parents_inherit),
		cmocka_unit_test(test_whole_branch_goes),
		cmocka_unit_test(test_mark_gone),
		cmocka_unit_test(test_unattributed),
		cmocka_unit_test(test_hostile_churn),
		cmocka_unit_test(test_hostile_live),
		cmocka_unit_test(test_conservation),
		cmocka_unit_test(test_bad_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
