// SPDX-License-Identifier: Apache-2.0
/* The loop's promises where callbacks pull the rug: removal, reuse and freeing inside a round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/loop.h"

struct seen {
	int calls;
	uint32_t events;
	int remove_fd; /* removed by the callback, -1: none */
	int reuse_fd; /* closed, and its number given to a new file */
	struct seen *reuse_seen;
	struct loop_timer *free_timer, *set_timer;
};

static struct loop *loop;

static int setup(void **state)
{
	(void)state;
	return loop_new(&loop);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	loop = NULL;
	return 0;
}

static void on_fd(struct loop *on, int fd, uint32_t events, void *data)
{
	struct seen *seen = data;

	assert_ptr_equal(on, loop);
	seen->calls++;
	seen->events = events;
	if (seen->remove_fd >= 0) {
		loop_remove_fd(on, seen->remove_fd);
		seen->remove_fd = -1;
	}
	if (seen->reuse_fd >= 0) {
		int reuse = seen->reuse_fd, fresh;

		seen->reuse_fd = -1;
		loop_remove_fd(on, reuse);
		close(reuse);
		fresh = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* the lowest free number */
		assert_int_equal(fresh, reuse);
		assert_int_equal(loop_add_fd(on, fresh, EPOLLIN, on_fd, seen->reuse_seen), 0);
	}
	(void)fd;
}

static const struct seen nothing = { .remove_fd = -1, .reuse_fd = -1 };

static void test_add_modify_remove(void **state)
{
	struct seen seen = nothing;
	int fd = eventfd(1, EFD_CLOEXEC), file = open("/dev/null", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_int_equal(loop_add_fd(loop, -1, EPOLLIN, on_fd, &seen), -EINVAL);
	assert_int_equal(loop_add_fd(loop, file, EPOLLIN, on_fd, &seen), -EPERM);
	assert_int_equal(loop_modify_fd(loop, fd, EPOLLIN), -ENOENT);
	assert_int_equal(loop_add_fd(loop, fd, EPOLLIN, on_fd, &seen), 0);
	assert_int_equal(loop_add_fd(loop, fd, EPOLLIN, on_fd, &seen), -EEXIST);
	assert_int_equal(loop_run_once(loop, 0), 0);
	assert_int_equal(seen.calls, 1);
	assert_int_equal(seen.events, EPOLLIN);
	assert_int_equal(loop_modify_fd(loop, fd, EPOLLOUT), 0);
	loop_run_once(loop, 0);
	assert_int_equal(seen.events, EPOLLOUT);
	loop_remove_fd(loop, fd);
	loop_remove_fd(loop, fd);
	loop_remove_fd(loop, 100000);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 2);
	assert_int_equal(loop_add_fd(loop, fd, EPOLLIN, on_fd, &seen), 0);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 3);
	close(file);
	close(fd);
}

/* Two ready files, each of whose callbacks removes the other: only one may run. */
static void test_remove_other_in_round(void **state)
{
	int a = eventfd(1, EFD_CLOEXEC), b = eventfd(1, EFD_CLOEXEC);
	struct seen seen_a = nothing, seen_b = nothing;

	(void)state;
	seen_a.remove_fd = b;
	seen_b.remove_fd = a;
	loop_add_fd(loop, a, EPOLLIN, on_fd, &seen_a);
	loop_add_fd(loop, b, EPOLLIN, on_fd, &seen_b);
	loop_run_once(loop, 0);
	assert_int_equal(seen_a.calls + seen_b.calls, 1);
	close(a);
	close(b);
}

static void test_remove_self_in_round(void **state)
{
	int fd = eventfd(1, EFD_CLOEXEC);
	struct seen seen = nothing;

	(void)state;
	seen.remove_fd = fd;
	loop_add_fd(loop, fd, EPOLLIN, on_fd, &seen);
	loop_run_once(loop, 0);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 1);
	close(fd);
}

/* The number of a ready file is taken over inside the round: the new file must not be told of the
 * old one's event. */
static void test_reused_number_in_round(void **state)
{
	int a = eventfd(1, EFD_CLOEXEC), b = eventfd(1, EFD_CLOEXEC);
	struct seen seen_a = nothing, seen_b = nothing, seen_new = nothing;

	(void)state;
	seen_a.reuse_fd = b;
	seen_b.reuse_fd = a;
	seen_a.reuse_seen = &seen_new;
	seen_b.reuse_seen = &seen_new;
	loop_add_fd(loop, a, EPOLLIN, on_fd, &seen_a);
	loop_add_fd(loop, b, EPOLLIN, on_fd, &seen_b);
	loop_run_once(loop, 0);
	assert_int_equal(seen_a.calls + seen_b.calls, 1);
	assert_int_equal(seen_new.calls, 0);
	close(a);
	close(b);
}

static void test_many_fds(void **state)
{
	struct seen seen[200];
	int fds[200];

	(void)state;
	for (int i = 0; i < 200; i++) {
		seen[i] = nothing;
		fds[i] = eventfd(1, EFD_CLOEXEC);
		assert_true(fds[i] >= 0);
		assert_int_equal(loop_add_fd(loop, fds[i], EPOLLIN, on_fd, &seen[i]), 0);
	}
	/* More than one round's events: nobody starves. */
	for (int i = 0; i < 4; i++)
		loop_run_once(loop, 0);
	for (int i = 0; i < 200; i++) {
		assert_true(seen[i].calls > 0);
		close(fds[i]);
	}
}

static void on_timer(struct loop *on, void *data)
{
	struct seen *seen = data;

	assert_ptr_equal(on, loop);
	seen->calls++;
	if (seen->free_timer)
		loop_timer_free(seen->free_timer);
	if (seen->set_timer)
		loop_timer_set(seen->set_timer, 0);
	seen->free_timer = NULL;
}

static void test_timer_once(void **state)
{
	struct seen seen = nothing;
	struct loop_timer *timer;
	int64_t before;

	(void)state;
	assert_int_equal(loop_timer_new(loop, on_timer, &seen, &timer), 0);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 0);
	before = clock_mono_ms();
	loop_timer_set(timer, 50);
	loop_timer_set(timer, 20);
	while (seen.calls == 0)
		assert_int_equal(loop_run_once(loop, -1), 0);
	assert_in_range(clock_mono_ms() - before, 20, 49);
	loop_run_once(loop, 60);
	assert_int_equal(seen.calls, 1);
	loop_timer_set(timer, 1);
	loop_timer_stop(timer);
	loop_run_once(loop, 5);
	assert_int_equal(seen.calls, 1);
}

/* 0 is "in the next round", also for a timer that this round has not come to yet: a callback that
 * sets it again and again must not keep the round from ending, nor be run twice in one. */
static void test_timer_zero_next_round(void **state)
{
	struct seen first = nothing, second = nothing;
	struct loop_timer *late, *early;

	(void)state;
	loop_timer_new(loop, on_timer, &second, &late);
	loop_timer_new(loop, on_timer, &first, &early); /* the newer one runs first */
	first.set_timer = late;
	second.set_timer = late;
	loop_timer_set(early, 0);
	loop_run_once(loop, 0);
	assert_int_equal(first.calls, 1);
	assert_int_equal(second.calls, 0);
	for (int i = 1; i <= 5; i++) {
		loop_run_once(loop, -1);
		assert_int_equal(second.calls, i);
	}
}

/* Missed rounds are skipped: after a stall the timer fires once, and stays in step. */
static void test_timer_every(void **state)
{
	struct seen seen = nothing;
	struct loop_timer *timer;
	int64_t before = clock_mono_ms();

	(void)state;
	loop_timer_new(loop, on_timer, &seen, &timer);
	loop_timer_every(timer, 20);
	usleep(75000);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 1);
	loop_run_once(loop, 0);
	assert_int_equal(seen.calls, 1);
	while (seen.calls < 3)
		loop_run_once(loop, -1);
	assert_true(clock_mono_ms() - before >= 100);
}

static void test_timer_freed_in_round(void **state)
{
	struct seen first = nothing, second = nothing, self = nothing;
	struct loop_timer *timer, *victim;

	(void)state;
	loop_timer_new(loop, on_timer, &second, &victim);
	loop_timer_new(loop, on_timer, &first, &timer);
	first.free_timer = victim;
	loop_timer_set(timer, 0);
	loop_timer_set(victim, 0);
	loop_run_once(loop, 0);
	assert_int_equal(first.calls, 1);
	assert_int_equal(second.calls, 0);
	loop_timer_free(timer);
	loop_timer_new(loop, on_timer, &self, &timer);
	self.free_timer = timer;
	loop_timer_every(timer, 1);
	while (self.calls == 0)
		loop_run_once(loop, -1);
	loop_run_once(loop, 10);
	assert_int_equal(self.calls, 1);
	loop_timer_free(NULL);
}

static int64_t at_most_10(struct loop *on, void *data)
{
	(void)on;
	(*(int *)data)++;
	return 10;
}

static void test_prepare_bounds_the_wait(void **state)
{
	int64_t before = clock_mono_ms();
	int calls = 0;

	(void)state;
	assert_int_equal(loop_add_prepare(loop, at_most_10, &calls), 0);
	loop_run_once(loop, 5000);
	assert_in_range(clock_mono_ms() - before, 9, 1000);
	assert_int_equal(calls, 1);
	while (loop_add_prepare(loop, at_most_10, &calls) == 0)
		assert_true(calls < 100);
}

static void on_timer_stop(struct loop *on, void *data)
{
	(void)data;
	usleep(15000);
	loop_stop(on);
}

static void test_run_stop_longest(void **state)
{
	struct loop_timer *timer;

	(void)state;
	loop_timer_new(loop, on_timer_stop, NULL, &timer);
	loop_timer_set(timer, 1);
	assert_int_equal(loop_run(loop), 0);
	assert_in_range(loop_take_longest_ms(loop), 14, 1000);
	assert_int_equal(loop_take_longest_ms(loop), 0);
	loop_free(NULL);
}

#define loop_test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		loop_test(test_add_modify_remove),
		loop_test(test_remove_other_in_round),
		loop_test(test_remove_self_in_round),
		loop_test(test_reused_number_in_round),
		loop_test(test_many_fds),
		loop_test(test_timer_once),
		loop_test(test_timer_zero_next_round),
		loop_test(test_timer_every),
		loop_test(test_timer_freed_in_round),
		loop_test(test_prepare_bounds_the_wait),
		loop_test(test_run_stop_longest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
