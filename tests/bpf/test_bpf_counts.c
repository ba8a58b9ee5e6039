// SPDX-License-Identifier: Apache-2.0
/* The counters against what a program says it created, and against pids.current. */
#include "bpf_test.h"
#include "read/bpf_probe_private.h"

struct fixture {
	struct bpf_probe *probe;
	struct cgroup_totals *totals;
	char dir[PATH_MAX];
	uint64_t id;
};

static void fixture_init(struct fixture *f, const char *name, unsigned int max,
			 const struct bpf_probe_options *options)
{
	*f = (struct fixture){ 0 };
	f->probe = test_probe(options);
	assert_int_equal(cgroup_totals_new(PW_SLOTS_MAX, &f->totals), 0);
	f->id = test_cgroup_make(NULL, name, max, f->dir);
}

static void fixture_done(struct fixture *f)
{
	test_cgroup_remove(f->dir);
	cgroup_totals_free(f->totals);
	bpf_probe_free(f->probe);
}

static struct cgroup_total total_of(struct fixture *f, uint64_t id)
{
	const struct cgroup_total *total = cgroup_totals_find(f->totals, id);

	return total ? *total : (struct cgroup_total){ 0 };
}

static void assert_totals(const struct task_totals *got, unsigned long processes,
			  unsigned long threads, unsigned long execs, unsigned long exits)
{
	if (got->processes_created != processes || got->threads_created != threads ||
	    got->execs != execs || got->exits != exits)
		fail_msg("processes %" PRIu64 " (want %lu), threads %" PRIu64
			 " (%lu), execs %" PRIu64 " (%lu), exits %" PRIu64 " (%lu)",
			 got->processes_created, processes, got->threads_created, threads,
			 got->execs, execs, got->exits, exits);
}

static void test_modes(void **state)
{
	static const struct {
		const char *mode, *arg1, *arg2;
		unsigned long processes, threads, execs;
	} rows[] = {
		{ "fork", "500", NULL, 500, 0, 0 },   { "vfork", "300", NULL, 300, 0, 0 },
		{ "clone3", "300", NULL, 300, 0, 0 }, { "thread", "400", NULL, 0, 400, 0 },
		{ "exec", "100", NULL, 100, 0, 100 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cgroup_total total;
		struct storm storm;
		struct fixture f;

		print_message("%s %s\n", rows[i].mode, rows[i].arg1);
		fixture_init(&f, rows[i].mode, 100, NULL);
		storm_run(&storm, f.dir, rows[i].mode, rows[i].arg1, rows[i].arg2);
		assert_int_equal(storm.processes, rows[i].processes);
		assert_int_equal(storm.threads, rows[i].threads);
		assert_int_equal(storm.execs, rows[i].execs);
		assert_int_equal(bpf_probe_update(f.probe, f.totals), 0);
		total = total_of(&f, f.id);
		/* The storm itself was forked outside, and executed and exited inside. */
		assert_totals(&total.own, storm.processes, storm.threads, storm.execs + 1,
			      storm.processes + storm.threads + 1);
		fixture_done(&f);
	}
}

static void test_plateau(void **state)
{
	struct cgroup_total total;
	struct storm storm;
	struct fixture f;
	int tick;

	(void)state;
	fixture_init(&f, "hold", 200, NULL);
	storm_start(&storm, f.dir, "hold", "20", "4");
	storm_wait_ready(&storm);
	for (tick = 0; tick < 3; tick++) {
		assert_int_equal(bpf_probe_update(f.probe, f.totals), 0);
		total = total_of(&f, f.id);
		assert_totals(&total.own, 20, 80, 1, 0);
		assert_int_equal(test_read_u64(f.dir, "pids.current"),
				 1 + total.own.processes_created + total.own.threads_created -
					 total.own.exits);
	}
	storm_end(&storm);
	assert_int_equal(storm.processes, 20);
	assert_int_equal(storm.threads, 80);
	bpf_probe_update(f.probe, f.totals);
	total = total_of(&f, f.id);
	assert_totals(&total.own, 20, 80, 1, 101);
	fixture_done(&f);
}

/*
 * CLONE_INTO_CGROUP takes a directory of the v2 hierarchy. Where that has pids, the child is
 * charged there and nowhere else; on a hybrid machine its pids cgroup is the parent's.
 */
static void test_into_cgroup(void **state)
{
	struct cgroup_total own, other;
	char target[PATH_MAX];
	struct storm storm;
	struct fixture f;
	struct stat st;

	(void)state;
	if (unified_root[0] == '\0') {
		print_message("no v2 hierarchy is mounted\n");
		skip();
	}
	fixture_init(&f, "into", 100, NULL);
	snprintf(target, sizeof(target), "%.2048s/pidwarden-test-%d-target", unified_root,
		 getpid());
	assert_int_equal(mkdir(target, 0755), 0);
	test_left_dir(target);
	assert_int_equal(stat(target, &st), 0);
	storm_run(&storm, f.dir, "into", target, "200");
	assert_int_equal(storm.processes, 200);
	bpf_probe_update(f.probe, f.totals);
	own = total_of(&f, f.id);
	if (pids_on_v2) {
		other = total_of(&f, st.st_ino);
		assert_totals(&own.own, 0, 0, 1, 1);
		assert_totals(&other.own, 200, 0, 0, 200);
	} else {
		assert_totals(&own.own, 200, 0, 1, 201);
	}
	test_cgroup_remove(target);
	fixture_done(&f);
}

/*
 * 200 cgroups that live one after the other, each gone before anybody looked: the parent
 * inherits.
 */
static void test_come_and_go(void **state)
{
	const unsigned int cgroups = 200, forks = test_slow() ? 10 : 100;
	struct task_totals before, after;
	struct cgroup_total total;
	bool seen[PW_SLOTS_DEFAULT] = { false };
	unsigned int reused = 0, i;
	char count[16];
	struct pw_errors errors;
	struct fixture f;

	(void)state;
	snprintf(count, sizeof(count), "%u", forks);
	fixture_init(&f, "churn", 100, NULL);
	test_cgroup_delegate(f.dir);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_node(f.totals, &before);
	for (i = 0; i < cgroups; i++) {
		char dir[PATH_MAX], name[16];
		struct storm storm;
		uint32_t slot;
		uint64_t id;

		snprintf(name, sizeof(name), "c%u", i);
		id = test_cgroup_make(f.dir, name, 50, dir);
		storm_run(&storm, dir, "fork", count, NULL);
		assert_int_equal(storm.processes, forks);
		assert_int_equal(bpf_probe_slot_of(f.probe, id, &slot), 0);
		reused += seen[slot];
		seen[slot] = true;
		test_cgroup_remove(dir);
	}
	/* Were no id ever reused, this test would prove nothing. */
	assert_true(reused > 0);
	print_message("%u of %u cgroups had a css id used before\n", reused, cgroups);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, f.id);
	assert_totals(&total.own, 0, 0, 0, 0);
	assert_totals(&total.inherited, cgroups * forks, 0, cgroups, cgroups * (forks + 1));
	cgroup_totals_node(f.totals, &after);
	assert_true(after.processes_created - before.processes_created >= cgroups * forks);
	bpf_probe_errors(f.probe, &errors);
	assert_int_equal(errors.lost_folds, 0);
	assert_int_equal(errors.failed_lookups, 0);
	fixture_done(&f);
}

static void make_many(struct fixture *f, char (*dirs)[PATH_MAX], uint64_t *ids, unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++) {
		struct storm storm;
		char name[16];

		snprintf(name, sizeof(name), "c%u", i);
		ids[i] = test_cgroup_make(f->dir, name, 50, dirs[i]);
		storm_run(&storm, dirs[i], "fork", "10", NULL);
		assert_int_equal(storm.processes, 10);
	}
}

#define MANY 150
static char many_dirs[MANY][PATH_MAX];
static uint64_t many_ids[MANY];

/* A ring of one page holds 64 folds; the others must be found in their slots. */
static void test_full_ring(void **state)
{
	struct bpf_probe_options options = { .rare_ring_bytes = 4096 };
	struct cgroup_total total;
	struct pw_errors errors;
	struct fixture f;
	unsigned int i;

	(void)state;
	fixture_init(&f, "ring", 100, &options);
	test_cgroup_delegate(f.dir);
	make_many(&f, many_dirs, many_ids, MANY);
	for (i = 0; i < MANY; i++)
		test_cgroup_remove(many_dirs[i]);
	bpf_probe_errors(f.probe, &errors);
	assert_true(errors.lost_folds >= MANY - 64);
	bpf_probe_update(f.probe, f.totals);
	total = total_of(&f, many_ids[MANY - 1]);
	assert_true(total.gone);
	assert_totals(&total.own, 10, 0, 1, 11);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, f.id);
	assert_totals(&total.inherited, MANY * 10, 0, MANY, MANY * 11);
	fixture_done(&f);
}

/*
 * As before, but removed before the next is made: css ids come back while their slot is still
 * owned. What cannot be told apart goes to the overflow slot; nothing is lost and nothing is
 * given to the wrong cgroup. Others' events may be in the overflow slot, too, so it can only be
 * too large.
 */
static void test_full_ring_and_reuse(void **state)
{
	struct bpf_probe_options options = { .rare_ring_bytes = 4096 };
	struct task_totals unattributed;
	struct cgroup_total total;
	struct pw_errors errors;
	struct storm storm;
	struct fixture f;
	unsigned int i;

	(void)state;
	fixture_init(&f, "reuse", 100, &options);
	test_cgroup_delegate(f.dir);
	for (i = 0; i < MANY; i++) {
		char name[16];

		snprintf(name, sizeof(name), "c%u", i);
		test_cgroup_make(f.dir, name, 50, many_dirs[i]);
		storm_run(&storm, many_dirs[i], "fork", "10", NULL);
		test_cgroup_remove(many_dirs[i]);
	}
	bpf_probe_errors(f.probe, &errors);
	assert_true(errors.lost_folds > 0);
	assert_true(errors.slot_conflicts > 0);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, f.id);
	cgroup_totals_get_unattributed(f.totals, &unattributed);
	print_message("%llu conflicts, %" PRIu64 " processes attributed, %" PRIu64 " not\n",
		      errors.slot_conflicts, total.inherited.processes_created,
		      unattributed.processes_created);
	assert_true(total.inherited.processes_created < MANY * 10);
	assert_true(total.inherited.processes_created + unattributed.processes_created >=
		    MANY * 10);

	/* And the slots are usable again. */
	test_cgroup_make(f.dir, "later", 50, many_dirs[0]);
	storm_run(&storm, many_dirs[0], "fork", "10", NULL);
	test_cgroup_remove(many_dirs[0]);
	i = (unsigned int)total.inherited.processes_created;
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, f.id);
	assert_int_equal(total.inherited.processes_created, i + 10);
	fixture_done(&f);
}

/* More cgroups than slots. */
static void test_overflow(void **state)
{
	struct bpf_probe_options options = { .slots = PW_GROUP_SLOTS };
	struct task_totals unattributed;
	struct pw_errors errors;
	uint64_t attributed = 0;
	struct fixture f;
	unsigned int i;

	(void)state;
	fixture_init(&f, "over", 100, &options);
	test_cgroup_delegate(f.dir);
	make_many(&f, many_dirs, many_ids, MANY);
	bpf_probe_update(f.probe, f.totals);
	for (i = 0; i < MANY; i++) {
		struct cgroup_total total = total_of(&f, many_ids[i]);

		if (total.id == 0)
			continue;
		assert_totals(&total.own, 10, 0, 1, 11);
		attributed += 10;
	}
	bpf_probe_errors(f.probe, &errors);
	cgroup_totals_get_unattributed(f.totals, &unattributed);
	assert_true(attributed < PW_GROUP_SLOTS * 10);
	assert_true(attributed + unattributed.processes_created >= MANY * 10);
	assert_true(errors.overflow_events >= (MANY - PW_GROUP_SLOTS) * 22);
	for (i = 0; i < MANY; i++)
		test_cgroup_remove(many_dirs[i]);
	fixture_done(&f);
}

/*
 * What runs in a container's own cgroups belongs to the pod, also when a whole branch goes at
 * once.
 */
static void test_nested(void **state)
{
	char pod[PATH_MAX], container[PATH_MAX], inner[PATH_MAX];
	struct cgroup_total total;
	struct storm storm;
	struct fixture f;
	uint64_t pod_id;

	(void)state;
	fixture_init(&f, "nested", 100, NULL);
	test_cgroup_delegate(f.dir);
	pod_id = test_cgroup_make(f.dir, "pod", 100, pod);
	test_cgroup_delegate(pod);
	test_cgroup_make(pod, "container", 100, container);
	test_cgroup_delegate(container);
	test_cgroup_make(container, "inner", 100, inner);
	storm_run(&storm, inner, "fork", "30", NULL);
	if (!pids_on_v2) /* v2 has no tasks in inner nodes */
		storm_run(&storm, container, "fork", "20", NULL);
	test_cgroup_remove(inner);
	test_cgroup_remove(container);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, pod_id);
	assert_int_equal(total.own.processes_created, 0);
	assert_int_equal(total.inherited.processes_created, pids_on_v2 ? 30 : 50);
	test_cgroup_remove(pod);
	bpf_probe_drain(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, pod_id);
	assert_int_equal(total.id, 0);
	total = total_of(&f, f.id);
	assert_int_equal(total.inherited.processes_created, pids_on_v2 ? 30 : 50);
	fixture_done(&f);
}

/*
 * What "-pids" and "+pids" in a v2 subtree_control leave behind, made by hand because this must
 * be tested on v1 hosts, too: a second slot owned by a cgroup, found when that is removed.
 */
static void test_stale_slot(void **state)
{
	struct cgroup_total total;
	struct pw_owner *owner;
	struct storm storm;
	char dir[PATH_MAX];
	struct fixture f;
	uint32_t stale;
	uint64_t id;

	(void)state;
	fixture_init(&f, "stale", 100, NULL);
	test_cgroup_delegate(f.dir);
	id = test_cgroup_make(f.dir, "child", 50, dir);
	storm_run(&storm, dir, "fork", "10", NULL);
	stale = bpf_probe_slots(f.probe) - 1;
	owner = &f.probe->owners[stale];
	assert_int_equal(owner->cgroup_id, 0);
	owner->cgroup_id = id;
	owner->parent_id = f.id;
	f.probe->skel->bss->pw_used_groups[stale / PW_GROUP_SLOTS] = 1;
	f.probe->counters[stale].processes = 7;
	bpf_probe_update(f.probe, f.totals);
	total = total_of(&f, id);
	assert_int_equal(total.own.processes_created, 17);
	test_cgroup_remove(dir);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	assert_int_equal(owner->cgroup_id, 0);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, id);
	assert_int_equal(total.id, 0);
	total = total_of(&f, f.id);
	assert_int_equal(total.inherited.processes_created, 17);
	fixture_done(&f);
}

/*
 * A css id that comes to a second cgroup while the first one's directory still exists ("-pids" on
 * v2), made by hand as well: its slot is given to somebody else.
 */
static void test_contested_slot(void **state)
{
	const uint64_t former = UINT64_MAX - 7;
	struct task_totals unattributed;
	struct cgroup_total total;
	struct pw_errors errors;
	struct storm storm;
	struct fixture f;
	uint32_t slot;

	(void)state;
	fixture_init(&f, "contested", 50, NULL);
	storm_run(&storm, f.dir, "fork", "10", NULL);
	assert_int_equal(bpf_probe_slot_of(f.probe, f.id, &slot), 0);
	f.probe->owners[slot].cgroup_id = former;
	storm_run(&storm, f.dir, "fork", "20", NULL);
	bpf_probe_errors(f.probe, &errors);
	assert_true(errors.slot_conflicts >= 42);
	bpf_probe_update(f.probe, f.totals);
	/* What was in the slot is the former owner's, what came since is nobody's. */
	total = total_of(&f, former);
	assert_totals(&total.own, 10, 0, 1, 11);
	assert_false(total.gone);
	assert_int_equal(total_of(&f, f.id).id, 0);
	cgroup_totals_get_unattributed(f.totals, &unattributed);
	assert_true(unattributed.processes_created >= 20);
	/* And from now on the slot is the new owner's. */
	storm_run(&storm, f.dir, "fork", "30", NULL);
	bpf_probe_update(f.probe, f.totals);
	total = total_of(&f, f.id);
	assert_totals(&total.own, 30, 0, 1, 31);
	fixture_done(&f);
}

/* A removal nobody reported: the caller, who misses the directory, asks for the slot's counts. */
static void test_reclaim(void **state)
{
	struct bpf_probe_options options = { .rare_ring_bytes = 4096 };
	struct cgroup_total total;
	struct storm storm;
	char dir[PATH_MAX];
	struct fixture f;
	uint64_t id;

	(void)state;
	fixture_init(&f, "reclaim", 100, &options);
	test_cgroup_delegate(f.dir);
	id = test_cgroup_make(f.dir, "child", 50, dir);
	storm_run(&storm, dir, "fork", "10", NULL);
	bpf_probe_update(f.probe, f.totals);
	assert_int_equal(bpf_probe_reclaim(f.probe, id, f.totals), 0);
	cgroup_totals_settle(f.totals);
	assert_int_equal(bpf_probe_reclaim(f.probe, id, f.totals), -ENOENT);
	total = total_of(&f, f.id);
	assert_totals(&total.inherited, 10, 0, 1, 11);
	test_cgroup_remove(dir);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	total = total_of(&f, f.id);
	assert_totals(&total.inherited, 10, 0, 1, 11);
	fixture_done(&f);
}

/* Statistics of the machine's BPF programs are on while this runs. */
static void test_cost(void **state)
{
	struct bpf_probe_cost cost;
	struct storm storm;
	struct fixture f;
	size_t i;

	(void)state;
	fixture_init(&f, "cost", 100, NULL);
	assert_int_equal(bpf_probe_stats_enable(f.probe), 0);
	storm_run(&storm, f.dir, "exec", test_slow() ? "50" : "500", NULL);
	storm_run(&storm, f.dir, "thread", "5000", NULL);
	test_cgroup_delegate(f.dir);
	for (i = 0; i < 200; i++) {
		uint64_t allocated, pid_max;
		char dir[PATH_MAX];

		test_cgroup_make(f.dir, "empty", 10, dir);
		test_cgroup_remove(dir);
		assert_int_equal(bpf_probe_node_pids(f.probe, &allocated, &pid_max), 0);
	}
	bpf_probe_stats_disable(f.probe);
	for (i = 0; bpf_probe_cost(f.probe, i, &cost) == 0; i++) {
		print_message("%-12s %8" PRIu64 " runs, %" PRIu64 " ns each, %" PRIu64 " misses\n",
			      cost.name, cost.run_cnt,
			      cost.run_cnt ? cost.run_time_ns / cost.run_cnt : 0,
			      cost.recursion_misses);
		assert_true(cost.name[0] != '\0');
	}
	assert_int_equal(i, 5);
	bpf_probe_cost(f.probe, 0, &cost);
	assert_true(cost.run_cnt >= (test_slow() ? 5050 : 5500));
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_modes),	    cmocka_unit_test(test_plateau),
		cmocka_unit_test(test_into_cgroup), cmocka_unit_test(test_come_and_go),
		cmocka_unit_test(test_full_ring),   cmocka_unit_test(test_full_ring_and_reuse),
		cmocka_unit_test(test_overflow),    cmocka_unit_test(test_nested),
		cmocka_unit_test(test_stale_slot),  cmocka_unit_test(test_contested_slot),
		cmocka_unit_test(test_reclaim),	    cmocka_unit_test(test_cost),
	};
	int skip = test_need_bpf();

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
