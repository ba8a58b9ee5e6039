/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only place where a thread is made. All threads are made at start: with no PID left on the
 * node pthread_create(3) fails, and that is when the agent is needed.
 * Refuses: threads on demand.
 */
#ifndef PIDWARDEN_BASE_THREAD_H
#define PIDWARDEN_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/*
 * Starts @fn(@data) with every signal blocked (they are main's, by signalfd). @name: at most 15
 * bytes, as ps and top show it. @stack: memory of the caller's that outlives the thread and is
 * aligned to a page, or NULL. 0 or -errno.
 */
int thread_start(const char *name, void *(*fn)(void *), void *data, void *stack, size_t stack_size,
		 pthread_t *ret_thread);

/* Asks for SCHED_FIFO at @priority. False when refused (usual in a pod: with
 * CONFIG_RT_GROUP_SCHED, EPERM in every cpu cgroup below the root). */
bool thread_make_realtime(pthread_t thread, int priority);

#endif
