/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generator's options: one table gives flag, environment variable, range, default and help.
 * Refuses: to act on any of them.
 */
#ifndef BUILDGEN_OPTIONS_H
#define BUILDGEN_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct options {
	bool local, paused, ignore_hints, progress, help, version;
	const char *node_cgroup, *node_name, *listen, *ready_file, *token_file, *report;
	const char *namespace_prefix, *log_level;
	uint64_t node_pids, concurrency, builds, start_batch, backoff_limit, seed, threads;
	uint64_t total_namespaces;
	int64_t duration_ms, start_every_ms, build_timeout_ms;
	double time_scale;
};

/* Defaults, then the environment, then the arguments. -EINVAL: @why names what is wrong.
 * Strings point into the environment and @argv. */
int options_parse(int argc, char **argv, struct options *ret_options, char *why, size_t why_size);
void options_help(FILE *out);

#endif
