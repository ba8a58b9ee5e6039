/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page a build shares with the generator that started it: the build writes, the generator
 * reads. It outlives the build, so a killed build still tells what it had made.
 * Refuses: any message from the generator to the build.
 */
#ifndef BUILDGEN_PAGE_H
#define BUILDGEN_PAGE_H

#include <assert.h>
#include <stdint.h>

#define PAGE_MAGIC 0x70776267u /* "gbwp": set last, so a page without it was never taken */

enum page_result {
	PAGE_RUNNING,
	PAGE_SUCCEEDED,
	PAGE_FORK_FAILED, /* the build could not make a process or thread */
	PAGE_WORKER_KILLED, /* somebody else ended one of its processes */
	PAGE_STOPPED, /* by SIGTERM */
};

/* Written with relaxed atomics by the leader and its workers; phase and result by the leader. */
struct build_page {
	_Atomic uint32_t magic;
	_Atomic uint32_t phase; /* enum phase */
	_Atomic uint32_t result; /* enum page_result */
	_Atomic int32_t first_errno; /* of the first failed fork or thread, positive */
	_Atomic uint32_t processes; /* alive now, the leader included */
	_Atomic uint32_t peak_processes;
	uint32_t height; /* as planned */
	uint32_t pad;
	_Atomic uint64_t processes_created; /* by the build itself: without its leader */
	_Atomic uint64_t threads_created; /* beyond each process's first */
	_Atomic uint64_t fork_failures; /* processes and threads that could not be made */
};

static_assert(sizeof(struct build_page) == 56, "shared between two programs");

#endif
