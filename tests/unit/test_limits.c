// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "core/limits.h"

/* Measured on five kernels: pid_max 1000 gave exactly 700 forks after the first wrap. */
static void test_pid_max_less_300(void **state)
{
	struct limit_set set;

	(void)state;
	limit_set_reset(&set);
	limit_set_add(&set, LIMIT_SCOPE_NODE_PIDS, "pid_max", 0, 1000);
	assert_int_equal(limit_headroom(limit_set_binding(&set)), 700);
	limit_set_reset(&set);
	limit_set_add(&set, LIMIT_SCOPE_NODE_PIDS, "pid_max", 5, 200);
	assert_int_equal(limit_headroom(limit_set_binding(&set)), 0);
}

static void test_binding(void **state)
{
	struct limit_set set;

	(void)state;
	limit_set_reset(&set);
	assert_null(limit_set_binding(&set));
	limit_set_add(&set, LIMIT_SCOPE_CGROUP, "/kubepods", 10, LIMIT_NONE);
	assert_null(limit_set_binding(&set));
	limit_set_add(&set, LIMIT_SCOPE_NODE_PIDS, "pid_max", 5000, 32768);
	limit_set_add(&set, LIMIT_SCOPE_NODE_THREADS, "threads_max", 5000, 192731);
	assert_string_equal(limit_set_binding(&set)->name, "pid_max");
	limit_set_add(&set, LIMIT_SCOPE_CGROUP, "/kubepods", 20000, 31768);
	assert_string_equal(limit_set_binding(&set)->name, "/kubepods");
	/* A tie stays with the first. */
	limit_set_add(&set, LIMIT_SCOPE_CGROUP, "/kubepods/burstable", 0, 11768);
	assert_string_equal(limit_set_binding(&set)->name, "/kubepods");
	/* Use past the limit (lowered at run time) is no headroom, not a huge one. */
	limit_set_add(&set, LIMIT_SCOPE_CGROUP, "/kubepods/besteffort", 200, 100);
	assert_int_equal(limit_headroom(limit_set_binding(&set)), 0);
	assert_string_equal(limit_set_binding(&set)->name, "/kubepods/besteffort");
}

static void test_full(void **state)
{
	struct limit_set set;
	char name[LIMIT_NAME_MAX + 50];

	(void)state;
	limit_set_reset(&set);
	for (int i = 0; i < LIMITS_MAX + 3; i++) {
		snprintf(name, sizeof(name), "/level%d", i);
		limit_set_add(&set, LIMIT_SCOPE_CGROUP, name, 1, 100);
	}
	assert_int_equal(set.n, LIMITS_MAX);
	assert_int_equal(set.dropped, 3);
	limit_set_reset(&set);
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	limit_set_add(&set, LIMIT_SCOPE_CGROUP, name, 1, 100);
	assert_int_equal(strlen(set.limits[0].name), LIMIT_NAME_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pid_max_less_300),
		cmocka_unit_test(test_binding),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
