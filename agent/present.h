/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fills the view that every surface is made from: figures of threads, programs and levers as plain
 * rows beside the snapshot and the decision.
 * Refuses: to change anything it looks at.
 */
#ifndef PIDWARDEN_PRESENT_H
#define PIDWARDEN_PRESENT_H

#include "act/lever.h"
#include "core/judge.h"
#include "show/view.h"

struct bpf_probe;
struct sentinel;
struct writer;

#define PRESENT_PROGRAMS 8
#define PRESENT_LEVERS 8
#define PRESENT_LOST 5

struct present_input {
	const char *mode;
	const struct snapshot *snapshot;
	const struct policy_decision *decision; /* NULL before the first */
	const struct judge_forecast *forecast;
	int64_t level_since_wall_ms, now_ms;
	struct lever *const *levers;
	size_t n_levers;
	const struct bpf_probe *probe; /* NULL: no BPF */
	const struct sentinel *sentinel; /* NULL: not running */
	struct writer *writer;
	double loop_longest_seconds;
};

/* The rows that the view points into. */
struct present {
	struct view view;
	struct lever_status statuses[PRESENT_LEVERS];
	struct view_lever levers[PRESENT_LEVERS];
	struct view_count results[PRESENT_LEVERS][LEVER_RESULTS];
	char program_names[PRESENT_PROGRAMS][16];
	struct view_program programs[PRESENT_PROGRAMS];
	struct view_count lost[PRESENT_LOST];
};

/* @present->view is valid until the next call, and as long as what @input points to. */
void present_fill(struct present *present, const struct present_input *input);

#endif
