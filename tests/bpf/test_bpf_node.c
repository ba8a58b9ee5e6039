// SPDX-License-Identifier: Apache-2.0
/*
 * The node's PIDs against /proc, and against daemons whose number in the root namespace is known.
 */
#include "bpf_test.h"

/* PROC_PID_INIT_INO of the kernel's linux/proc_ns.h: the first PID namespace. */
#define ROOT_PID_NS "pid:[4026531836]"

static uint64_t allocated_now(struct bpf_probe *probe)
{
	uint64_t allocated, pid_max;

	assert_int_equal(bpf_probe_node_pids(probe, &allocated, &pid_max), 0);
	return allocated;
}

static bool in_root_pid_namespace(void)
{
	char link[64] = "";
	ssize_t len = readlink("/proc/self/ns/pid", link, sizeof(link) - 1);

	return len > 0 && strcmp(link, ROOT_PID_NS) == 0;
}

/* Every task has a PID, and few machines have ten times as many PIDs as tasks. */
static void test_plausible(void **state)
{
	struct bpf_probe *probe = test_probe(NULL);
	unsigned long tasks = 0, pid_max_here = 0;
	uint64_t allocated = 0, pid_max = 0;
	FILE *file;
	int tries;

	(void)state;
	if (!in_root_pid_namespace()) {
		print_message("not in the root PID namespace: /proc shows another count\n");
		bpf_probe_free(probe);
		skip();
	}
	/* Tasks come and go between the two reads; on a machine in use they are equal at times. */
	for (tries = 0; tries < 200; tries++) {
		file = fopen("/proc/loadavg", "re");
		assert_non_null(file);
		assert_int_equal(fscanf(file, "%*s %*s %*s %*u/%lu", &tasks), 1);
		fclose(file);
		assert_int_equal(bpf_probe_node_pids(probe, &allocated, &pid_max), 0);
		if (allocated >= tasks)
			break;
		usleep(10000);
	}
	print_message("%" PRIu64 " PIDs, %lu tasks, pid_max %" PRIu64 "\n", allocated, tasks,
		      pid_max);
	assert_true(allocated >= tasks);
	assert_true(allocated < UINT64_C(1) << 22);
	file = fopen("/proc/sys/kernel/pid_max", "re");
	assert_non_null(file);
	assert_int_equal(fscanf(file, "%lu", &pid_max_here), 1);
	fclose(file);
	if (pid_max > 0)
		assert_int_equal(pid_max, pid_max_here);
	else
		print_message("this kernel has no pid_max per namespace\n");
	bpf_probe_free(probe);
}

/*
 * Growth by @expected when @mode's storm is there. Others may fork between the two reads, so it
 * is tried until it is right: a wrong reader is off by its own error every time, noise is not.
 * @expected is far from what the nearest wrong figure (tasks) would be.
 */
static void assert_growth(const char *mode, const char *arg1, const char *arg2, uint64_t expected,
			  uint64_t expected_tasks)
{
	struct bpf_probe *probe = test_probe(NULL);
	char dir[PATH_MAX];
	int64_t growth = 0;
	int tries;

	test_cgroup_make(NULL, mode, 200, dir);
	for (tries = 0; tries < 50; tries++) {
		uint64_t before = allocated_now(probe), tasks, during;
		struct storm storm;

		storm_start(&storm, dir, mode, arg1, arg2);
		storm_wait_ready(&storm);
		during = allocated_now(probe);
		tasks = test_read_u64(dir, "pids.current");
		storm_end(&storm);
		assert_int_equal(tasks, expected_tasks);
		growth = (int64_t)(during - before);
		if (growth == (int64_t)expected)
			break;
	}
	test_cgroup_remove(dir);
	bpf_probe_free(probe);
	print_message("%s: grew by %" PRId64 " PIDs, %" PRIu64 " tasks, at try %d\n", mode, growth,
		      expected_tasks, tries + 1);
	assert_int_equal(growth, expected);
}

static void test_processes(void **state)
{
	(void)state;
	assert_growth("hold", "30", "0", 31, 31);
}

static void test_threads(void **state)
{
	(void)state;
	assert_growth("hold", "10", "5", 61, 61);
}

/* A session leader that is dead and reaped keeps its number as long as its session lives. */
static void test_dead_session_leaders(void **state)
{
	(void)state;
	assert_growth("sessions", "50", NULL, 101, 51);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plausible),
		cmocka_unit_test(test_processes),
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_dead_session_leaders),
	};
	int skip = test_need_bpf();

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
