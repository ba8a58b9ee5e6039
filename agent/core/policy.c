// SPDX-License-Identifier: Apache-2.0
#include "core/policy.h"

#include <inttypes.h>
#include <stdio.h>

/* Builds are throttled only if they are the cause: they hold at least this share of what is used
 * under the binding limit. */
#define BLAME_SHARE 0.25

const char *policy_level_name(enum policy_level level)
{
	switch (level) {
	case POLICY_NORMAL:
		return "normal";
	case POLICY_WATCH:
		return "watch";
	case POLICY_THROTTLE:
		return "throttle";
	case POLICY_HOLD:
		return "hold";
	}
	return "unknown";
}

/* The level that the figures call for, were there no past. @ratio_of: the throttle threshold. */
static enum policy_level wanted_level(const struct policy_config *config,
				      const struct policy_input *input, double throttle_ratio)
{
	double max, expected;

	if (!input->binding || input->binding->max == 0)
		return POLICY_NORMAL;
	max = (double)input->binding->max;
	expected = (double)input->expected_headroom;
	if ((double)input->headroom < expected)
		expected = (double)input->headroom;
	if ((double)input->headroom < config->reserve_ratio * max / 2)
		return POLICY_HOLD;
	if (expected < throttle_ratio * max)
		return POLICY_THROTTLE;
	if (expected < (throttle_ratio + 1) / 2 * max && expected < 2 * throttle_ratio * max)
		return POLICY_WATCH;
	return POLICY_NORMAL;
}

static enum policy_level next_level(const struct policy_config *config,
				    const struct policy_input *input,
				    const struct policy_state *state)
{
	enum policy_level up = wanted_level(config, input, config->enter_ratio);
	enum policy_level down = wanted_level(config, input, config->leave_ratio);

	if (up > state->level)
		return up;
	/* Between the two thresholds the level stays: that is the hysteresis. */
	if (down < state->level && input->now_ms - state->level_since_ms >= config->min_dwell_ms)
		return state->level - 1 > down ? state->level - 1 : down;
	return state->level;
}

static void describe(const struct policy_input *input, const struct policy_state *state, bool stale,
		     bool blameless, struct policy_decision *decision)
{
	const char *name = policy_level_name(state->level);
	int n;

	if (!input->binding) {
		snprintf(decision->reason, sizeof(decision->reason), "%s: no limit is known", name);
		return;
	}
	n = snprintf(decision->reason, sizeof(decision->reason),
		     "%s: %" PRIu64 " of %" PRIu64 " PIDs left under %.64s", name, input->headroom,
		     input->binding->max, input->binding->name);
	if (n > 0 && input->n_builds > 0) {
		int64_t left = input->expected_headroom;

		n += snprintf(decision->reason + n, sizeof(decision->reason) - (size_t)n,
			      left < 0 ? ", %" PRId64 " too few for the %" PRIu64
					 " running builds at their height" :
					 ", %" PRId64 " when the %" PRIu64
					 " running builds are at their height",
			      left < 0 ? -left : left, input->n_builds);
	}
	if (n < 0 || (size_t)n >= sizeof(decision->reason))
		return;
	if (decision->throttle)
		snprintf(decision->reason + n, sizeof(decision->reason) - (size_t)n,
			 "; at most %" PRIu64 " may run", decision->max_concurrent);
	else if (stale)
		snprintf(decision->reason + n, sizeof(decision->reason) - (size_t)n,
			 "; counts are %" PRId64 " ms old", input->counts_age_ms);
	else if (blameless)
		snprintf(decision->reason + n, sizeof(decision->reason) - (size_t)n,
			 "; builds hold %.0f %% of what is used, so they are left alone",
			 input->build_share * 100);
}

void policy_decide(const struct policy_config *config, const struct policy_input *input,
		   struct policy_state *state, struct policy_decision *ret_decision)
{
	struct policy_decision decision = { 0 };
	bool stale = input->counts_age_ms > config->max_age_ms, blameless;
	enum policy_level level;

	if (!state->started) {
		state->started = true;
		state->level_since_ms = input->now_ms;
		state->fresh_ms = input->now_ms;
	}
	level = state->level;
	if (!stale) {
		level = next_level(config, input, state);
		state->fresh_ms = input->now_ms;
	} else if (level > POLICY_NORMAL &&
		   input->now_ms - state->fresh_ms >= config->hold_expiry_ms) {
		/* Stale counts never raise a level; the one in force expires, step by step. */
		level--;
		state->fresh_ms = input->now_ms;
	}
	decision.changed = level != state->level;
	if (decision.changed) {
		state->level = level;
		state->level_since_ms = input->now_ms;
	}
	decision.level = level;
	blameless = input->build_share < BLAME_SHARE && input->n_builds > 0;
	decision.throttle = level >= POLICY_THROTTLE && input->n_builds > 0 && !blameless;
	if (decision.throttle) {
		uint64_t allowed = input->budget;

		/* The plan has failed: let half of them end before another begins. */
		if (level == POLICY_HOLD && allowed > input->n_builds / 2)
			allowed = input->n_builds / 2;
		decision.max_concurrent = allowed > 0 ? allowed : 1;
	}
	describe(input, state, stale, blameless, &decision);
	*ret_decision = decision;
}
