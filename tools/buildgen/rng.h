/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seeded random numbers: the same seed makes the same builds on every machine.
 * Refuses: anything secret; identifiers that must be unique among runs come from the kernel.
 */
#ifndef BUILDGEN_RNG_H
#define BUILDGEN_RNG_H

#include <stdint.h>

struct rng {
	uint64_t state;
};

/* splitmix64 (Steele, Lea, Flood 2014): any seed will do, neighbouring ones included. */
static inline uint64_t rng_next(struct rng *rng)
{
	uint64_t z = rng->state += 0x9e3779b97f4a7c15u;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* Uniform in @low..@high, both included. The modulo's bias is below 2^-50 for ranges used here. */
static inline uint64_t rng_range(struct rng *rng, uint64_t low, uint64_t high)
{
	return low + rng_next(rng) % (high - low + 1);
}

#endif
