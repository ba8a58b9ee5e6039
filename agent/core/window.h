/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last samples of a figure, and their percentiles.
 * Refuses: clocks; a sample is a tick.
 */
#ifndef PIDWARDEN_CORE_WINDOW_H
#define PIDWARDEN_CORE_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#define WINDOW_SAMPLES 120

struct window {
	uint64_t samples[WINDOW_SAMPLES];
	size_t n, next;
};

void window_add(struct window *window, uint64_t sample);
/* Nearest-rank percentile, @ratio 0..1; 0 without samples. */
uint64_t window_percentile(const struct window *window, double ratio);

#endif
