/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: one epoll, one thread, callbacks for files and timers.
 * Refuses: to own the files it watches, to be used from two threads.
 */
#ifndef PIDWARDEN_BASE_LOOP_H
#define PIDWARDEN_BASE_LOOP_H

#include <stdint.h>

struct loop;
struct loop_timer;

/* @events: EPOLLIN, EPOLLOUT, ... as epoll_wait(2) reports them. */
typedef void (*loop_fd_fn)(struct loop *loop, int fd, uint32_t events, void *data);
typedef void (*loop_timer_fn)(struct loop *loop, void *data);
/* Called before each wait. Returns the longest wait in ms that it allows, -1: any. */
typedef int64_t (*loop_prepare_fn)(struct loop *loop, void *data);

int loop_new(struct loop **ret_loop);
void loop_free(struct loop *loop);

/* 0, or -EEXIST, -ENOMEM and what epoll_ctl(2) gives. The fd stays the caller's. */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *data);
int loop_modify_fd(struct loop *loop, int fd, uint32_t events);
/* Before close(2). Safe inside any callback, also for the fd being dispatched; unknown fds pass. */
void loop_remove_fd(struct loop *loop, int fd);

/* A timer is made disarmed. Freed by the loop, or earlier by loop_timer_free(). */
int loop_timer_new(struct loop *loop, loop_timer_fn fn, void *data, struct loop_timer **ret_timer);
void loop_timer_free(struct loop_timer *timer);
/* Fires once, @delay_ms from now (0: in the next round), then is disarmed. Setting again moves it. */
void loop_timer_set(struct loop_timer *timer, int64_t delay_ms);
/* Fires every @interval_ms. Missed rounds are skipped, not made up for. */
void loop_timer_every(struct loop_timer *timer, int64_t interval_ms);
void loop_timer_stop(struct loop_timer *timer);

int loop_add_prepare(struct loop *loop, loop_prepare_fn fn, void *data);

/* CLOCK_MONOTONIC in ms as of the current round. */
int64_t loop_now_ms(const struct loop *loop);
/* The longest time in ms that one round's callbacks took since the last call; resets it. */
int64_t loop_take_longest_ms(struct loop *loop);

/* Runs until loop_stop(). 0, or the negative errno of a failed epoll_wait(2). */
int loop_run(struct loop *loop);
/* One round; waits at most @max_wait_ms (-1: as long as it takes). For tests and tools. */
int loop_run_once(struct loop *loop, int64_t max_wait_ms);
void loop_stop(struct loop *loop);

#endif
