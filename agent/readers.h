/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readers of the node together: cgroup tree, BPF counters and /proc, opened once and read into one
 * snapshot a tick.
 * Refuses: to end because one of them fails. What is missing is said in the snapshot; only without
 * cgroups is there nothing to show.
 */
#ifndef PIDWARDEN_READERS_H
#define PIDWARDEN_READERS_H

#include <stdint.h>

#include "core/pod_table.h"
#include "core/snapshot.h"
#include "join.h"
#include "options.h"

struct bpf_probe;
struct readers;

/* Logs what failed and what it means. @options must outlive it. 0 or -errno: nothing to read. */
int readers_new(const struct options *options, struct readers **ret_readers);
void readers_free(struct readers *readers);

/*
 * Fills @snapshot, all but its sequence and what the kubelet's state is. @pods may be NULL. 0, or
 * -errno: the snapshot is then not to be shown.
 */
int readers_read(struct readers *readers, const struct pod_table *pods, int64_t now_ms,
		 struct snapshot *snapshot);
/* Takes the folds that wait, between two reads: a storm of short cgroups fills the ring. */
void readers_drain(struct readers *readers);

/* NULL: counts of cgroups only, and readers_bpf_error() says why. */
struct bpf_probe *readers_probe(const struct readers *readers);
const char *readers_bpf_error(const struct readers *readers);
/* The last join, for who asks which pods are alive. */
struct join *readers_join(const struct readers *readers);

#endif
