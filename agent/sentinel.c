// SPDX-License-Identifier: Apache-2.0
#include "sentinel.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/thread.h"
#include "read/bpf_probe.h"

/* Above every ordinary thread; below the kernel's own threads that must run for anything to work. */
#define SENTINEL_PRIORITY 20
#define SENTINEL_STACK (64 * 1024)
#define TRIPS 16 /* power of two */

const uint64_t sentinel_bounds_ns[SENTINEL_BUCKETS] = {
	10000,	 20000,	  50000,    100000,   200000,	500000,	   1000000,
	2000000, 5000000, 10000000, 20000000, 50000000, 100000000, 1000000000,
};

struct sentinel {
	char stack[SENTINEL_STACK] __attribute__((aligned(4096)));
	struct bpf_probe *probe;
	pthread_t thread;
	bool started;
	int epoll_fd;
	int event_fd; /* to the main loop */
	int stop_fd; /* from it */
	bool realtime, locked;
	/* Single producer (the thread), single consumer (the main loop). */
	struct pw_trip trips[TRIPS];
	atomic_uint written, taken;
	atomic_ullong wakeups, lost, latency_sum_ns;
	atomic_ullong latency_counts[SENTINEL_BUCKETS + 1];
};

static void on_trip(const struct pw_trip *trip, void *data)
{
	int64_t latency_ns = clock_mono_ns() - (int64_t)trip->ktime_ns;
	unsigned int written;
	struct sentinel *sentinel = data;
	size_t bucket = 0;
	uint64_t one = 1;

	if (latency_ns < 0)
		latency_ns = 0;
	while (bucket < SENTINEL_BUCKETS && (uint64_t)latency_ns > sentinel_bounds_ns[bucket])
		bucket++;
	atomic_fetch_add_explicit(&sentinel->latency_counts[bucket], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&sentinel->latency_sum_ns, (uint64_t)latency_ns,
				  memory_order_relaxed);
	atomic_fetch_add_explicit(&sentinel->wakeups, 1, memory_order_relaxed);

	written = atomic_load_explicit(&sentinel->written, memory_order_relaxed);
	if (written - atomic_load_explicit(&sentinel->taken, memory_order_acquire) == TRIPS) {
		atomic_fetch_add_explicit(&sentinel->lost, 1, memory_order_relaxed);
	} else {
		sentinel->trips[written % TRIPS] = *trip;
		atomic_store_explicit(&sentinel->written, written + 1, memory_order_release);
	}
	/* Never blocks: it would take 2^64 - 2 unread events. */
	if (write(sentinel->event_fd, &one, sizeof(one)) < 0)
		atomic_fetch_add_explicit(&sentinel->lost, 1, memory_order_relaxed);
}

static void *sentinel_main(void *data)
{
	struct sentinel *sentinel = data;
	struct epoll_event events[2];

	for (;;) {
		int n = epoll_wait(sentinel->epoll_fd, events, 2, -1);

		if (n < 0 && errno != EINTR)
			return NULL;
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd == sentinel->stop_fd)
				return NULL;
		}
		bpf_probe_trip_consume(sentinel->probe, on_trip, sentinel);
	}
}

static int watch(struct sentinel *sentinel, int fd)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

	return epoll_ctl(sentinel->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int sentinel_new(struct bpf_probe *probe, struct sentinel **ret_sentinel)
{
	struct sentinel *sentinel;
	int err;

	sentinel = aligned_alloc(4096, (sizeof(*sentinel) + 4095) / 4096 * 4096);
	if (!sentinel)
		return -ENOMEM;
	memset(sentinel, 0, sizeof(*sentinel));
	sentinel->probe = probe;
	sentinel->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	sentinel->stop_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	sentinel->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (sentinel->event_fd < 0 || sentinel->stop_fd < 0 || sentinel->epoll_fd < 0) {
		err = -errno;
		goto fail;
	}
	err = watch(sentinel, sentinel->stop_fd);
	if (err == 0)
		err = watch(sentinel, bpf_probe_trip_fd(probe));
	if (err < 0)
		goto fail;
	/* A page fault at the wrong moment waits for the disk. Without the right to lock (8 MiB of
	 * RLIMIT_MEMLOCK is usual, and enough) it runs all the same. */
	sentinel->locked = mlock(sentinel, sizeof(*sentinel)) == 0;
	err = thread_start("pidwarden-trip", sentinel_main, sentinel, sentinel->stack,
			   sizeof(sentinel->stack), &sentinel->thread);
	if (err < 0)
		goto fail;
	sentinel->started = true;
	sentinel->realtime = thread_make_realtime(sentinel->thread, SENTINEL_PRIORITY);
	*ret_sentinel = sentinel;
	return 0;
fail:
	sentinel_free(sentinel);
	return err;
}

void sentinel_free(struct sentinel *sentinel)
{
	uint64_t one = 1;

	if (!sentinel)
		return;
	if (sentinel->started && write(sentinel->stop_fd, &one, sizeof(one)) == sizeof(one))
		pthread_join(sentinel->thread, NULL);
	if (sentinel->locked)
		munlock(sentinel, sizeof(*sentinel));
	if (sentinel->epoll_fd >= 0)
		close(sentinel->epoll_fd);
	if (sentinel->stop_fd >= 0)
		close(sentinel->stop_fd);
	if (sentinel->event_fd >= 0)
		close(sentinel->event_fd);
	free(sentinel);
}

int sentinel_event_fd(const struct sentinel *sentinel)
{
	return sentinel->event_fd;
}

bool sentinel_take(struct sentinel *sentinel, struct pw_trip *ret_trip)
{
	unsigned int taken = atomic_load_explicit(&sentinel->taken, memory_order_relaxed);
	uint64_t count;

	if (taken == atomic_load_explicit(&sentinel->written, memory_order_acquire)) {
		/* Made quiet first, looked at again after: a trip in between raises it anew. */
		if (read(sentinel->event_fd, &count, sizeof(count)) < 0)
			return false;
		if (taken == atomic_load_explicit(&sentinel->written, memory_order_acquire))
			return false;
	}
	*ret_trip = sentinel->trips[taken % TRIPS];
	atomic_store_explicit(&sentinel->taken, taken + 1, memory_order_release);
	return true;
}

void sentinel_stats(const struct sentinel *sentinel, struct sentinel_stats *ret_stats)
{
	ret_stats->realtime = sentinel->realtime;
	ret_stats->locked = sentinel->locked;
	ret_stats->wakeups = atomic_load_explicit(&sentinel->wakeups, memory_order_relaxed);
	ret_stats->lost = atomic_load_explicit(&sentinel->lost, memory_order_relaxed);
	ret_stats->latency_sum_ns =
		atomic_load_explicit(&sentinel->latency_sum_ns, memory_order_relaxed);
	for (size_t i = 0; i <= SENTINEL_BUCKETS; i++)
		ret_stats->latency_counts[i] =
			atomic_load_explicit(&sentinel->latency_counts[i], memory_order_relaxed);
}
