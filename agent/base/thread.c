// SPDX-License-Identifier: Apache-2.0
#include "base/thread.h"

#include <sched.h>
#include <signal.h>

int thread_start(const char *name, void *(*fn)(void *), void *data, void *stack, size_t stack_size,
		 pthread_t *ret_thread)
{
	sigset_t all, before;
	pthread_attr_t attr;
	int err;

	err = pthread_attr_init(&attr);
	if (err != 0)
		return -err;
	if (stack)
		err = pthread_attr_setstack(&attr, stack, stack_size);
	if (err == 0) {
		sigfillset(&all);
		pthread_sigmask(SIG_BLOCK, &all, &before);
		err = pthread_create(ret_thread, &attr, fn, data);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
	}
	pthread_attr_destroy(&attr);
	if (err == 0)
		pthread_setname_np(*ret_thread, name);
	return -err;
}

bool thread_make_realtime(pthread_t thread, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	return pthread_setschedparam(thread, SCHED_FIFO, &param) == 0;
}
