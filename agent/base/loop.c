// SPDX-License-Identifier: Apache-2.0
#include "base/loop.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

#define LOOP_EVENTS 64
#define LOOP_PREPARES 4

struct loop_watch {
	loop_fd_fn fn; /* NULL: free */
	void *data;
	uint32_t generation; /* tells a reused fd from the one an event was queued for */
};

struct loop_timer {
	struct loop *loop;
	loop_timer_fn fn;
	void *data;
	int64_t due_ms; /* monotonic; -1: disarmed */
	int64_t interval_ms; /* 0: once */
	struct loop_timer *next;
	uint64_t round; /* set inside this round: not before the next */
	bool dead; /* freed inside a round: unlinked at its end */
};

struct loop {
	int epoll_fd;
	struct loop_watch *watches; /* indexed by fd */
	size_t n_watches;
	struct loop_timer *timers;
	struct {
		loop_prepare_fn fn;
		void *data;
	} prepares[LOOP_PREPARES];
	size_t n_prepares;
	int64_t now_ms;
	int64_t longest_ms;
	uint64_t round;
	bool running;
	bool dispatching;
};

int loop_new(struct loop **ret_loop)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	if (!loop)
		return -ENOMEM;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int err = -errno;

		free(loop);
		return err;
	}
	loop->now_ms = clock_mono_ms();
	*ret_loop = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->timers) {
		struct loop_timer *timer = loop->timers;

		loop->timers = timer->next;
		free(timer);
	}
	free(loop->watches);
	close(loop->epoll_fd);
	free(loop);
}

static uint64_t watch_tag(const struct loop *loop, int fd)
{
	return (uint64_t)loop->watches[fd].generation << 32 | (uint32_t)fd;
}

static int watches_grow(struct loop *loop, int fd)
{
	size_t n = loop->n_watches > 0 ? loop->n_watches : 64;
	struct loop_watch *watches;

	if ((size_t)fd < loop->n_watches)
		return 0;
	while (n <= (size_t)fd)
		n *= 2;
	watches = realloc(loop->watches, n * sizeof(*watches));
	if (!watches)
		return -ENOMEM;
	for (size_t i = loop->n_watches; i < n; i++)
		watches[i] = (struct loop_watch){ 0 };
	loop->watches = watches;
	loop->n_watches = n;
	return 0;
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *data)
{
	struct epoll_event ev = { .events = events };
	int err;

	if (fd < 0 || !fn)
		return -EINVAL;
	err = watches_grow(loop, fd);
	if (err < 0)
		return err;
	if (loop->watches[fd].fn)
		return -EEXIST;
	loop->watches[fd].generation++;
	ev.data.u64 = watch_tag(loop, fd);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0)
		return -errno;
	loop->watches[fd].fn = fn;
	loop->watches[fd].data = data;
	return 0;
}

int loop_modify_fd(struct loop *loop, int fd, uint32_t events)
{
	struct epoll_event ev = { .events = events };

	if (fd < 0 || (size_t)fd >= loop->n_watches || !loop->watches[fd].fn)
		return -ENOENT;
	ev.data.u64 = watch_tag(loop, fd);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, fd, &ev) < 0)
		return -errno;
	return 0;
}

void loop_remove_fd(struct loop *loop, int fd)
{
	if (fd < 0 || (size_t)fd >= loop->n_watches || !loop->watches[fd].fn)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
	loop->watches[fd].fn = NULL;
	loop->watches[fd].data = NULL;
}

int loop_timer_new(struct loop *loop, loop_timer_fn fn, void *data, struct loop_timer **ret_timer)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return -ENOMEM;
	*timer = (struct loop_timer){
		.loop = loop,
		.fn = fn,
		.data = data,
		.due_ms = -1,
		.next = loop->timers,
	};
	loop->timers = timer;
	*ret_timer = timer;
	return 0;
}

static void timers_sweep(struct loop *loop)
{
	struct loop_timer **at = &loop->timers;

	while (*at) {
		struct loop_timer *timer = *at;

		if (timer->dead) {
			*at = timer->next;
			free(timer);
		} else {
			at = &timer->next;
		}
	}
}

void loop_timer_free(struct loop_timer *timer)
{
	if (!timer)
		return;
	timer->dead = true;
	timer->due_ms = -1;
	if (!timer->loop->dispatching)
		timers_sweep(timer->loop);
}

void loop_timer_set(struct loop_timer *timer, int64_t delay_ms)
{
	timer->interval_ms = 0;
	timer->round = timer->loop->round;
	timer->due_ms = clock_mono_ms() + (delay_ms > 0 ? delay_ms : 0);
}

void loop_timer_every(struct loop_timer *timer, int64_t interval_ms)
{
	timer->interval_ms = interval_ms > 0 ? interval_ms : 1;
	timer->round = timer->loop->round;
	timer->due_ms = clock_mono_ms() + timer->interval_ms;
}

void loop_timer_stop(struct loop_timer *timer)
{
	timer->due_ms = -1;
}

int loop_add_prepare(struct loop *loop, loop_prepare_fn fn, void *data)
{
	if (loop->n_prepares == LOOP_PREPARES)
		return -ENOSPC;
	loop->prepares[loop->n_prepares].fn = fn;
	loop->prepares[loop->n_prepares].data = data;
	loop->n_prepares++;
	return 0;
}

int64_t loop_now_ms(const struct loop *loop)
{
	return loop->now_ms;
}

int64_t loop_take_longest_ms(struct loop *loop)
{
	int64_t longest = loop->longest_ms;

	loop->longest_ms = 0;
	return longest;
}

static void timers_run(struct loop *loop)
{
	/* A timer added by a callback goes to the list's head: not run in this round. */
	for (struct loop_timer *timer = loop->timers; timer; timer = timer->next) {
		if (timer->dead || timer->due_ms < 0 || timer->due_ms > loop->now_ms ||
		    timer->round == loop->round)
			continue;
		if (timer->interval_ms > 0) {
			int64_t late = loop->now_ms - timer->due_ms;

			timer->due_ms += (late / timer->interval_ms + 1) * timer->interval_ms;
		} else {
			timer->due_ms = -1;
		}
		timer->fn(loop, timer->data);
	}
}

static int64_t wait_ms(struct loop *loop, int64_t max_wait_ms)
{
	int64_t wait = max_wait_ms, now;

	for (size_t i = 0; i < loop->n_prepares; i++) {
		int64_t allowed = loop->prepares[i].fn(loop, loop->prepares[i].data);

		if (allowed >= 0 && (wait < 0 || allowed < wait))
			wait = allowed;
	}
	now = clock_mono_ms();
	for (struct loop_timer *timer = loop->timers; timer; timer = timer->next) {
		int64_t left;

		if (timer->dead || timer->due_ms < 0)
			continue;
		left = timer->due_ms > now ? timer->due_ms - now : 0;
		if (wait < 0 || left < wait)
			wait = left;
	}
	return wait > INT_MAX ? INT_MAX : wait;
}

int loop_run_once(struct loop *loop, int64_t max_wait_ms)
{
	struct epoll_event events[LOOP_EVENTS];
	int64_t took_ms;
	int n;

	n = epoll_wait(loop->epoll_fd, events, LOOP_EVENTS, (int)wait_ms(loop, max_wait_ms));
	if (n < 0 && errno != EINTR)
		return -errno;
	loop->now_ms = clock_mono_ms();
	loop->round++;
	loop->dispatching = true;
	for (int i = 0; i < n; i++) {
		int fd = (int)(uint32_t)events[i].data.u64;
		struct loop_watch *watch = &loop->watches[fd];

		/* Removed, or removed and added again, by an earlier callback of this round. */
		if (!watch->fn || watch_tag(loop, fd) != events[i].data.u64)
			continue;
		watch->fn(loop, fd, events[i].events, watch->data);
	}
	timers_run(loop);
	loop->dispatching = false;
	timers_sweep(loop);
	took_ms = clock_mono_ms() - loop->now_ms;
	if (took_ms > loop->longest_ms)
		loop->longest_ms = took_ms;
	return 0;
}

int loop_run(struct loop *loop)
{
	loop->running = true;
	while (loop->running) {
		int err = loop_run_once(loop, -1);

		if (err < 0)
			return err;
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->running = false;
}
