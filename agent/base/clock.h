/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The clocks. Everything that decides takes time as a parameter; only the agent, the loop and
 * the tools read these.
 */
#ifndef PIDWARDEN_BASE_CLOCK_H
#define PIDWARDEN_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t clock_read_ms(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* CLOCK_MONOTONIC: intervals, ages, deadlines. Stands still in suspend. */
static inline int64_t clock_mono_ms(void)
{
	return clock_read_ms(CLOCK_MONOTONIC);
}

static inline int64_t clock_mono_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* CLOCK_REALTIME: for people and for other machines only. */
static inline int64_t clock_wall_ms(void)
{
	return clock_read_ms(CLOCK_REALTIME);
}

#endif
