/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a snapshot to a decision: learns from the builds, forecasts each limit, takes the most pressed
 * one to the policy.
 * Refuses: clocks, I/O, logging; state is only what earlier snapshots taught.
 */
#ifndef PIDWARDEN_CORE_JUDGE_H
#define PIDWARDEN_CORE_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#include "core/build_table.h"
#include "core/policy.h"
#include "core/snapshot.h"

struct judge;

struct judge_config {
	struct policy_config policy;
	double prior_tasks; /* of one build at its height, its sandbox included */
	double deviations; /* of the builds' sum that the plan keeps free */
	/*
	 * Tasks that a pod holds outside its own cgroup, under pid_max and threads-max: the threads
	 * of its container shim (about 11, measured with containerd 1.6 and 2.1).
	 */
	double shim_tasks;
	/* Pods that the kubelet has not named yet and that are younger count as builds. */
	int64_t unknown_ms;
};

struct judge_forecast {
	bool known; /* a limit is known */
	char limit[LIMIT_NAME_MAX]; /* the most pressed one, which the next figures are about */
	uint64_t headroom; /* under it, now */
	int64_t expected_headroom; /* at the worst moment of the builds now running */
	int64_t worst_ms; /* how far ahead that is */
	uint64_t running; /* builds, young unknown pods included */
	/* Builds that may run at once under every limit; below running while some must end first */
	uint64_t budget;
	uint64_t per_build; /* tasks of a new build at its height */
};

int judge_new(const struct judge_config *config, struct judge **ret_judge);
void judge_free(struct judge *judge);

/*
 * @fresh: the snapshot is new since the last call (it is learned from); else only its age counts.
 * 0, or -ENOMEM: the decision is then the policy's on what was known, the forecast unchanged.
 */
int judge_decide(struct judge *judge, const struct snapshot *snapshot, bool fresh, int64_t now_ms,
		 struct judge_forecast *ret_forecast, struct policy_decision *ret_decision);
const struct build_table *judge_builds(const struct judge *judge);

#endif
