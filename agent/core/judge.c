// SPDX-License-Identifier: Apache-2.0
#include "core/judge.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/budget.h"
#include "core/window.h"

/* Of what is no build, under one limit: the plan counts with this percentile of the last two minutes
 * (at a tick a second), or with the present if that is more. */
#define OTHER_PERCENTILE 0.9

struct other_window {
	char limit[LIMIT_NAME_MAX];
	struct window window;
};

struct judge {
	struct judge_config config;
	struct build_table *builds;
	struct policy_state policy;
	struct other_window others[LIMITS_MAX];
	size_t n_others;
	/* As of the last full judgement. */
	struct limit pressed;
	struct judge_forecast forecast;
	double build_share;
};

int judge_new(const struct judge_config *config, struct judge **ret_judge)
{
	struct judge *judge = calloc(1, sizeof(*judge));
	int err;

	if (!judge)
		return -ENOMEM;
	judge->config = *config;
	err = build_table_new(config->prior_tasks, &judge->builds);
	if (err < 0) {
		judge_free(judge);
		return err;
	}
	*ret_judge = judge;
	return 0;
}

void judge_free(struct judge *judge)
{
	if (!judge)
		return;
	build_table_free(judge->builds);
	free(judge);
}

/* The window of a limit; a limit that came when all windows were taken has none. */
static struct window *other_window(struct judge *judge, const char *limit)
{
	for (size_t i = 0; i < judge->n_others; i++) {
		if (strcmp(judge->others[i].limit, limit) == 0)
			return &judge->others[i].window;
	}
	if (judge->n_others == LIMITS_MAX)
		return NULL;
	memcpy(judge->others[judge->n_others].limit, limit, LIMIT_NAME_MAX);
	return &judge->others[judge->n_others++].window;
}

static double build_use(const struct judge *judge, const struct limit *limit,
			const struct budget_build *builds, size_t n, double *ret_extra)
{
	double use = 0;

	*ret_extra = limit->scope == LIMIT_SCOPE_CGROUP ? 0 : judge->config.shim_tasks;
	for (size_t i = 0; i < n; i++)
		use += (double)builds[i].tasks + *ret_extra;
	return use;
}

/* Plans one limit. Returns its expected headroom as a share of the limit: the smaller, the more
 * pressed. */
static double plan_limit(struct judge *judge, const struct limit *limit,
			 const struct budget_build *builds, size_t n, struct budget *ret_budget,
			 double *ret_share)
{
	struct budget_limit plan = { 0 };
	struct window *window = other_window(judge, limit->name);
	double use = build_use(judge, limit, builds, n, &plan.per_build_extra), other;

	other = (double)limit->used > use ? (double)limit->used - use : 0;
	plan.max = (double)limit->max;
	plan.reserve = judge->config.policy.reserve_ratio * plan.max;
	plan.other = other;
	if (window) {
		double high;

		window_add(window, (uint64_t)other);
		high = (double)window_percentile(window, OTHER_PERCENTILE);
		if (high > other)
			plan.other = high;
	}
	budget_plan(&plan, builds, n, build_table_typical(judge->builds), judge->config.deviations,
		    ret_budget);
	*ret_share = limit->used > 0 ? use / (double)limit->used : 0;
	if (*ret_share > 1)
		*ret_share = 1;
	return plan.max > 0 ? (double)ret_budget->expected_headroom / plan.max : -1;
}

static int look(struct judge *judge, const struct snapshot *snapshot)
{
	const struct limit_set *limits = &snapshot->node.limits;
	struct judge_forecast forecast = { 0 };
	const struct budget_build *builds;
	double most_pressed = 0;
	int64_t slots = INT64_MAX;
	size_t n;
	int err;

	err = build_table_update(judge->builds, snapshot);
	if (err < 0)
		return err;
	err = build_table_running(judge->builds, snapshot, judge->config.unknown_ms, &builds, &n);
	if (err < 0)
		return err;
	forecast.running = n;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];
		struct budget budget;
		double share, pressed;

		pressed = plan_limit(judge, limit, builds, n, &budget, &share);
		if (budget.slots < slots)
			slots = budget.slots;
		if (forecast.known && pressed >= most_pressed)
			continue;
		most_pressed = pressed;
		forecast.known = true;
		memcpy(forecast.limit, limit->name, sizeof(forecast.limit));
		forecast.headroom = limit_headroom(limit);
		forecast.expected_headroom = budget.expected_headroom;
		forecast.worst_ms = budget.worst_ms;
		forecast.per_build = (uint64_t)(budget.per_build + 0.5);
		judge->pressed = *limit;
		judge->build_share = share;
	}
	if (forecast.known)
		forecast.budget = (int64_t)n + slots > 0 ? (uint64_t)((int64_t)n + slots) : 0;
	judge->forecast = forecast;
	return 0;
}

int judge_decide(struct judge *judge, const struct snapshot *snapshot, bool fresh, int64_t now_ms,
		 struct judge_forecast *ret_forecast, struct policy_decision *ret_decision)
{
	const struct judge_forecast *forecast = &judge->forecast;
	struct policy_input input = { 0 };
	int err = 0;

	if (fresh)
		err = look(judge, snapshot);
	input.now_ms = now_ms;
	input.counts_age_ms = now_ms - snapshot->mono_ms;
	input.binding = forecast->known ? &judge->pressed : NULL;
	input.headroom = forecast->headroom;
	input.expected_headroom = forecast->expected_headroom;
	input.n_builds = forecast->running;
	input.budget = forecast->budget;
	input.build_share = judge->build_share;
	policy_decide(&judge->config.policy, &input, &judge->policy, ret_decision);
	*ret_forecast = *forecast;
	return err;
}

const struct build_table *judge_builds(const struct judge *judge)
{
	return judge->builds;
}
