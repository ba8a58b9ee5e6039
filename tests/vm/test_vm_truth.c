// SPDX-License-Identifier: Apache-2.0
/*
 * What only the v2 hierarchy does: children cloned into another cgroup, the pids controller taken
 * away and given back below a living cgroup, threaded cgroups. Against pids.current and what the
 * storms say.
 */
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "../bpf/bpf_test.h"
#include "read/cgroup_tree.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#define CLONE_VFORK_FLAG 0x4000ULL

/* linux/sched.h of some distributions stops before cgroup. */
struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

struct fixture {
	struct bpf_probe *probe;
	struct cgroup_totals *totals;
	char dir[PATH_MAX]; /* an inner node, whose children have pids */
	uint64_t id;
};

static void fixture_init(struct fixture *f, const char *name)
{
	if (!pids_on_v2) {
		print_message("pids is not on v2\n");
		skip();
	}
	*f = (struct fixture){ .probe = test_probe(NULL) };
	assert_int_equal(cgroup_totals_new(PW_SLOTS_MAX, &f->totals), 0);
	f->id = test_cgroup_make(NULL, name, 200, f->dir);
	test_cgroup_delegate(f->dir);
}

static void fixture_done(struct fixture *f)
{
	struct pw_errors errors;

	bpf_probe_errors(f->probe, &errors);
	assert_int_equal(errors.failed_lookups, 0);
	assert_int_equal(errors.lost_folds, 0);
	test_cgroup_remove(f->dir);
	cgroup_totals_free(f->totals);
	bpf_probe_free(f->probe);
}

static struct task_totals own_of(const struct fixture *f, uint64_t id)
{
	const struct cgroup_total *total = cgroup_totals_find(f->totals, id);

	return total ? total->own : (struct task_totals){ 0 };
}

static void assert_own(const struct fixture *f, uint64_t id, unsigned long processes,
		       unsigned long threads, unsigned long execs, unsigned long exits)
{
	struct task_totals own = own_of(f, id);

	if (own.processes_created != processes || own.threads_created != threads ||
	    own.execs != execs || own.exits != exits)
		fail_msg("processes %" PRIu64 " (want %lu), threads %" PRIu64
			 " (%lu), execs %" PRIu64 " (%lu), exits %" PRIu64 " (%lu)",
			 own.processes_created, processes, own.threads_created, threads, own.execs,
			 execs, own.exits, exits);
}

/* Parent: its tgid. Child: 0, in the cgroup of @cgroup_fd. */
static pid_t clone_into(int cgroup_fd, uint64_t more_flags)
{
	struct clone3_args args = { .flags = CLONE_INTO_CGROUP | more_flags,
				    .exit_signal = SIGCHLD,
				    .cgroup = (uint64_t)cgroup_fd };

	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

enum {
	INTO = 12, /* children that stay */
	INTO_VFORK = 25, /* children that are gone at once */
};

/* In @from, makes INTO children in @into that hold until they are killed, as clone3 says. */
static void into_worker(const char *from, int into, int ready)
{
	int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (test_write(from, "cgroup.procs", "0"))
		_exit(126);
	for (i = 0; i < INTO_VFORK; i++) {
		pid_t tgid = clone_into(into, CLONE_VFORK_FLAG);

		if (tgid == 0)
			_exit(0);
		if (tgid < 0 || waitpid(tgid, NULL, 0) != tgid)
			_exit(125);
	}
	for (i = 0; i < INTO; i++) {
		pid_t tgid = clone_into(into, 0);

		if (tgid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (tgid < 0)
			_exit(124);
	}
	if (write(ready, "r", 1) != 1)
		_exit(123);
	for (;;)
		pause();
}

/* The parent's cgroup is charged for nothing, the target for everything, also while they live. */
static void test_clone_into(void **state)
{
	char from[PATH_MAX], into[PATH_MAX], c;
	uint64_t from_id, into_id;
	struct fixture f;
	int pipes[2], fd, tries;
	pid_t worker;

	(void)state;
	fixture_init(&f, "clone-into");
	from_id = test_cgroup_make(f.dir, "from", 100, from);
	into_id = test_cgroup_make(f.dir, "into", 100, into);
	fd = open(into, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	worker = fork();
	assert_true(worker >= 0);
	if (worker == 0)
		into_worker(from, fd, pipes[1]);
	close(pipes[1]);
	test_left_storm(0, worker);
	assert_int_equal(read(pipes[0], &c, 1), 1);
	assert_int_equal(test_read_u64(from, "pids.current"), 1);
	assert_int_equal(test_read_u64(into, "pids.current"), INTO);
	assert_int_equal(bpf_probe_update(f.probe, f.totals), 0);
	assert_own(&f, from_id, 0, 0, 0, 0);
	assert_own(&f, into_id, INTO + INTO_VFORK, 0, 0, INTO_VFORK);

	/* Its children die with it; init reaps them. */
	kill(worker, SIGKILL);
	assert_int_equal(waitpid(worker, NULL, 0), worker);
	test_left_storm(worker, 0);
	for (tries = 0; test_read_u64(into, "pids.current") > 0 && tries < 1000; tries++)
		usleep(5000);
	assert_int_equal(bpf_probe_update(f.probe, f.totals), 0);
	assert_own(&f, from_id, 0, 0, 0, 1);
	assert_own(&f, into_id, INTO + INTO_VFORK, 0, 0, INTO + INTO_VFORK);
	close(fd);
	close(pipes[0]);
	test_cgroup_remove(into);
	test_cgroup_remove(from);
	fixture_done(&f);
}

/*
 * A directory that has no pids controller of its own: the nearest ancestor is charged, by the
 * kernel and by us, and its removal takes nothing along.
 */
static void test_not_enabled(void **state)
{
	char pod[PATH_MAX], inner[PATH_MAX], target[PATH_MAX];
	uint64_t pod_id, inner_id;
	struct fixture f;
	struct storm storm;
	struct stat st;

	(void)state;
	fixture_init(&f, "not-enabled");
	pod_id = test_cgroup_make(f.dir, "pod", 100, pod);
	assert_true(snprintf(inner, sizeof(inner), "%.2048s/inner", pod) > 0);
	assert_true(snprintf(target, sizeof(target), "%.2048s/target", pod) > 0);
	assert_int_equal(mkdir(inner, 0755), 0);
	test_left_dir(inner);
	assert_int_equal(mkdir(target, 0755), 0);
	test_left_dir(target);
	assert_int_equal(stat(inner, &st), 0);
	inner_id = st.st_ino;
	assert_int_equal(test_open(inner, "pids.current", O_RDONLY), -ENOENT);

	storm_start(&storm, inner, "hold", "6", "2");
	storm_wait_ready(&storm);
	assert_int_equal(test_read_u64(pod, "pids.current"), 1 + 6 * 3);
	storm_end(&storm);
	storm_run(&storm, inner, "into", target, "40");
	bpf_probe_update(f.probe, f.totals);
	assert_own(&f, pod_id, 46, 12, 2, 60);
	assert_own(&f, inner_id, 0, 0, 0, 0);
	test_cgroup_remove(target);
	test_cgroup_remove(inner);
	bpf_probe_update(f.probe, f.totals);
	cgroup_totals_settle(f.totals);
	assert_own(&f, pod_id, 46, 12, 2, 60);
	test_cgroup_remove(pod);
	fixture_done(&f);
}

/* Threaded cgroups: a process's threads in a child of the cgroup that the process is in. */
static void test_threaded(void **state)
{
	char domain[PATH_MAX], workers[PATH_MAX];
	uint64_t domain_id, workers_id;
	struct fixture f;
	struct storm storm;

	(void)state;
	fixture_init(&f, "threaded");
	domain_id = test_cgroup_make(f.dir, "domain", 100, domain);
	assert_true(snprintf(workers, sizeof(workers), "%.2048s/workers", domain) > 0);
	assert_int_equal(mkdir(workers, 0755), 0);
	test_left_dir(workers);
	assert_int_equal(test_write(workers, "cgroup.type", "threaded"), 0);
	test_cgroup_delegate(domain);
	struct stat st;

	assert_int_equal(stat(workers, &st), 0);
	workers_id = st.st_ino;
	storm_run(&storm, workers, "thread", "50", NULL);
	storm_run(&storm, domain, "thread", "30", NULL);
	storm_start(&storm, workers, "hold", "4", "3");
	storm_wait_ready(&storm);
	assert_int_equal(test_read_u64(workers, "pids.current"), 1 + 4 * 4);
	assert_int_equal(test_read_u64(domain, "pids.current"), 1 + 4 * 4);
	storm_end(&storm);
	bpf_probe_update(f.probe, f.totals);
	assert_own(&f, domain_id, 0, 30, 1, 31);
	assert_own(&f, workers_id, 4, 62, 2, 68);
	test_cgroup_remove(workers);
	test_cgroup_remove(domain);
	fixture_done(&f);
}

enum {
	CHILDREN = 5,
	TAKERS = 60, /* cgroups made meanwhile; some get the css ids that became free */
};

/*
 * "-pids" removes the css of every child, whose id then goes to the next cgroup, while the
 * directory lives on; "+pids" gives it another. What cannot be told apart goes to the overflow
 * slot: nothing to a wrong cgroup, nothing lost.
 */
static void test_pids_taken_away(void **state)
{
	static char dirs[CHILDREN][PATH_MAX], takers[TAKERS][PATH_MAX];
	char parent[PATH_MAX], other[PATH_MAX], name[16];
	uint64_t parent_id, ids[CHILDREN], taker_ids[TAKERS], attributed = 0;
	struct task_totals unattributed;
	struct pw_errors errors;
	struct fixture f;
	struct storm storm;
	unsigned int i, exact = 0, reused = 0;
	bool child_slot[PW_SLOTS_DEFAULT] = { false };
	uint32_t slot;

	(void)state;
	fixture_init(&f, "taken");
	parent_id = test_cgroup_make(f.dir, "parent", 100, parent);
	test_cgroup_make(f.dir, "other", 100, other);
	test_cgroup_delegate(parent);
	test_cgroup_delegate(other);
	for (i = 0; i < CHILDREN; i++) {
		snprintf(name, sizeof(name), "c%u", i);
		ids[i] = test_cgroup_make(parent, name, 50, dirs[i]);
		storm_run(&storm, dirs[i], "fork", "10", NULL);
		assert_int_equal(bpf_probe_slot_of(f.probe, ids[i], &slot), 0);
		child_slot[slot] = true;
	}
	assert_int_equal(test_write(parent, "cgroup.subtree_control", "-pids"), 0);
	/* The parent is charged now. */
	for (i = 0; i < CHILDREN; i++)
		storm_run(&storm, dirs[i], "fork", "7", NULL);
	/* A css id is free when the last reference to the css is gone. */
	usleep(500000);
	for (i = 0; i < TAKERS; i++) {
		snprintf(name, sizeof(name), "t%u", i);
		taker_ids[i] = test_cgroup_make(other, name, 50, takers[i]);
		storm_run(&storm, takers[i], "fork", "5", NULL);
	}
	bpf_probe_errors(f.probe, &errors);
	assert_true(errors.slot_conflicts > 0);
	bpf_probe_update(f.probe, f.totals);
	assert_own(&f, parent_id, CHILDREN * 7, 0, CHILDREN, CHILDREN * 8);
	for (i = 0; i < CHILDREN; i++)
		assert_own(&f, ids[i], 10, 0, 1, 11);
	for (i = 0; i < TAKERS; i++) {
		struct task_totals own = own_of(&f, taker_ids[i]);

		/* All or nothing: no taker's slot changed hands while its storm ran. */
		assert_true(own.processes_created == 0 || own.processes_created == 5);
		exact += own.processes_created == 5;
		attributed += own.processes_created;
	}
	cgroup_totals_get_unattributed(f.totals, &unattributed);
	assert_true(attributed + unattributed.processes_created >= TAKERS * 5);
	print_message("%u of %d takers attributed, %llu conflicts\n", exact, TAKERS,
		      errors.slot_conflicts);
	assert_in_range(exact, TAKERS - CHILDREN, TAKERS - 1);

	/* From now on the slots are the takers', and after "+pids" the children have new ones. */
	assert_int_equal(test_write(parent, "cgroup.subtree_control", "+pids"), 0);
	for (i = 0; i < CHILDREN; i++)
		storm_run(&storm, dirs[i], "fork", "20", NULL);
	for (i = 0; i < TAKERS; i++) {
		uint64_t before = own_of(&f, taker_ids[i]).processes_created;

		storm_run(&storm, takers[i], "fork", "3", NULL);
		assert_int_equal(bpf_probe_slot_of(f.probe, taker_ids[i], &slot), 0);
		reused += child_slot[slot];
		bpf_probe_update(f.probe, f.totals);
		assert_int_equal(own_of(&f, taker_ids[i]).processes_created, before + 3);
	}
	print_message("%u takers have a child's former css id\n", reused);
	assert_true(reused > 0);
	for (i = 0; i < CHILDREN; i++)
		assert_own(&f, ids[i], 30, 0, 2, 32);
	for (i = 0; i < CHILDREN; i++)
		test_cgroup_remove(dirs[i]);
	for (i = 0; i < TAKERS; i++)
		test_cgroup_remove(takers[i]);
	test_cgroup_remove(other);
	test_cgroup_remove(parent);
	fixture_done(&f);
}

static const struct cgroup_entry *entry_of(struct cgroup_tree *tree, uint64_t id)
{
	const struct cgroup_entry *entries;
	uint32_t index = cgroup_tree_find(tree, id);
	size_t n;

	assert_int_not_equal(index, CGROUP_INDEX_NONE);
	entries = cgroup_tree_entries(tree, &n);
	assert_true(index < n);
	return &entries[index];
}

/* What the agent reads: a directory whose pids files appear, vanish and appear again. */
static void test_tree_pids_come_and_go(void **state)
{
	char parent[PATH_MAX], child[PATH_MAX];
	const struct cgroup_entry *entry;
	struct cgroup_tree *tree;
	struct storm storm;
	struct fixture f;
	struct stat st;
	int64_t now_ms = 1000;
	int tick;

	(void)state;
	fixture_init(&f, "tree");
	test_cgroup_make(f.dir, "parent", 100, parent);
	assert_true(snprintf(child, sizeof(child), "%.2048s/child", parent) > 0);
	assert_int_equal(mkdir(child, 0755), 0);
	test_left_dir(child);
	assert_int_equal(stat(child, &st), 0);
	assert_int_equal(cgroup_tree_new(f.dir, 100, 100, &tree), 0);
	storm_start(&storm, child, "hold", "5", "1");
	storm_wait_ready(&storm);
	assert_int_equal(cgroup_tree_refresh(tree, now_ms), 0);
	assert_false(entry_of(tree, st.st_ino)->has_pids);

	test_cgroup_delegate(parent);
	assert_int_equal(test_write(child, "pids.max", "77"), 0);
	for (tick = 0; tick < 10; tick++)
		assert_int_equal(cgroup_tree_refresh(tree, now_ms += 1000), 0);
	entry = entry_of(tree, st.st_ino);
	assert_true(entry->has_pids);
	assert_int_equal(entry->current, 11);
	assert_int_equal(entry->max, 77);

	assert_int_equal(test_write(parent, "cgroup.subtree_control", "-pids"), 0);
	for (tick = 0; tick < 3; tick++)
		assert_int_equal(cgroup_tree_refresh(tree, now_ms += 1000), 0);
	assert_false(entry_of(tree, st.st_ino)->has_pids);

	test_cgroup_delegate(parent);
	for (tick = 0; tick < 10; tick++)
		assert_int_equal(cgroup_tree_refresh(tree, now_ms += 1000), 0);
	entry = entry_of(tree, st.st_ino);
	assert_true(entry->has_pids);
	assert_int_equal(entry->current, 11);
	storm_end(&storm);
	cgroup_tree_free(tree);
	test_cgroup_remove(child);
	test_cgroup_remove(parent);
	fixture_done(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clone_into),
		cmocka_unit_test(test_not_enabled),
		cmocka_unit_test(test_threaded),
		cmocka_unit_test(test_pids_taken_away),
		cmocka_unit_test(test_tree_pids_come_and_go),
	};
	int skip = test_need_bpf();

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
