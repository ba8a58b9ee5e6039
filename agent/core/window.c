// SPDX-License-Identifier: Apache-2.0
#include "core/window.h"

#include <stdlib.h>
#include <string.h>

void window_add(struct window *window, uint64_t sample)
{
	window->samples[window->next] = sample;
	window->next = (window->next + 1) % WINDOW_SAMPLES;
	if (window->n < WINDOW_SAMPLES)
		window->n++;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t window_percentile(const struct window *window, double ratio)
{
	uint64_t sorted[WINDOW_SAMPLES];
	size_t rank;

	if (window->n == 0)
		return 0;
	memcpy(sorted, window->samples, window->n * sizeof(sorted[0]));
	qsort(sorted, window->n, sizeof(sorted[0]), compare);
	rank = (size_t)(ratio * (double)window->n + 0.999999);
	if (rank < 1)
		rank = 1;
	return sorted[(rank > window->n ? window->n : rank) - 1];
}
