/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decision: how pressed the node is, and how many builds may run on it.
 * (figures, configuration, previous state, time) in, level, budget and a reason out.
 * Refuses: to read a clock, to act, to log.
 */
#ifndef PIDWARDEN_CORE_POLICY_H
#define PIDWARDEN_CORE_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/snapshot.h"

enum policy_level {
	POLICY_NORMAL = 0,
	POLICY_WATCH = 1,
	POLICY_THROTTLE = 2,
	POLICY_HOLD = 3,
};

#define POLICY_REASON_MAX 256

struct policy_config {
	double enter_ratio; /* throttle when expected headroom falls below this share of the limit */
	double leave_ratio; /* and leave it only above this one */
	double reserve_ratio; /* share of the limit that builds are never planned into */
	int64_t min_dwell_ms; /* a level is held at least this long before it steps down */
	int64_t max_age_ms; /* older counts than this never raise a level */
	int64_t hold_expiry_ms; /* a level in force on stale counts steps down after this */
};

/* What the policy judges: the snapshot's figures and the forecast of the running builds. */
struct policy_input {
	int64_t now_ms; /* monotonic */
	int64_t counts_age_ms;
	const struct limit *binding; /* NULL: no limit known */
	uint64_t headroom; /* effective headroom now */
	/* Headroom when the builds now running are at their highest, at the confidence of the
	 * budget; negative when they will not fit. */
	int64_t expected_headroom;
	uint64_t n_builds;
	uint64_t budget; /* builds that may run at once, the running ones included */
	double build_share; /* of the binding limit's use, 0..1 */
};

struct policy_state {
	enum policy_level level;
	int64_t level_since_ms;
	int64_t fresh_ms; /* when fresh counts were last judged */
	bool started;
};

struct policy_decision {
	enum policy_level level;
	bool changed;
	bool throttle; /* max_concurrent is in force */
	uint64_t max_concurrent;
	char reason[POLICY_REASON_MAX]; /* a sentence with its numbers */
};

void policy_decide(const struct policy_config *config, const struct policy_input *input,
		   struct policy_state *state, struct policy_decision *ret_decision);
const char *policy_level_name(enum policy_level level);

#endif
