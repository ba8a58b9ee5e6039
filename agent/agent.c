// SPDX-License-Identifier: Apache-2.0
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#include "act/lever_webhook.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "core/judge.h"
#include "core/snapshot.h"
#include "kube/http_client.h"
#include "kube/kubelet.h"
#include "options.h"
#include "present.h"
#include "read/bpf_probe.h"
#include "readers.h"
#include "sentinel.h"
#include "show/surface.h"
#include "writer.h"

/* Threads of a pod's container shim, outside its cgroup: measured with containerd 1.6 and 2.1. */
#define SHIM_TASKS 11
/* Standard deviations that the plan keeps free: one moment in a hundred. */
#define PLAN_DEVIATIONS 2.33
/* A pod that the kubelet does not name within this time is no build that has just begun. */
#define UNKNOWN_MS 30000
/* The kernel's BPF statistics cost about 20 ns a run of every program on the machine: on for one tick
 * in so many. */
#define STATS_EVERY 60
/* Two ticks closer than this (a trip just after a tick) tell nothing new. */
#define TICK_GAP_MS 20
#define TRIP_LOG_MS 10000
#define STATE_FILE_MODE 0700

struct agent {
	struct loop *loop;
	const struct options *options;
	struct writer *writer;

	struct readers *readers;
	struct sentinel *sentinel; /* NULL: no BPF */
	struct http_client *http;
	struct kubelet *kubelet; /* NULL: not configured */
	struct judge *judge;
	struct lever *levers[PRESENT_LEVERS];
	size_t n_levers;
	struct surface *surface;
	struct loop_timer *tick_timer, *soon_timer;

	/* The last full snapshot, and the one being made: a tick that fails half-way shows nothing. */
	struct snapshot snapshots[2];
	struct snapshot *shown, *next;
	struct judge_forecast forecast;
	struct policy_decision decision;
	bool decided;
	int64_t level_since_wall_ms;
	int64_t last_tick_ms;
	uint64_t ticks;
	int64_t trip_told_ms;
	uint64_t trips_untold;
	int tick_error; /* 0, or what the last tick failed with: said once */
	bool stopping;
	struct present present;
};

/* --- the tick --- */

static void show(struct agent *agent)
{
	struct present_input input = {
		.mode = agent->options->mode == OPTIONS_MODE_THROTTLE ? "throttle" : "observe",
		.snapshot = agent->shown,
		.decision = agent->decided ? &agent->decision : NULL,
		.forecast = &agent->forecast,
		.level_since_wall_ms = agent->level_since_wall_ms,
		.now_ms = clock_mono_ms(),
		.levers = agent->levers,
		.n_levers = agent->n_levers,
		.probe = readers_probe(agent->readers),
		.sentinel = agent->sentinel,
		.writer = agent->writer,
		.loop_longest_seconds = (double)loop_take_longest_ms(agent->loop) / 1000,
	};
	int err;

	if (agent->kubelet)
		agent->shown->kubelet = *kubelet_state(agent->kubelet);
	present_fill(&agent->present, &input);
	err = surface_render(agent->surface, &agent->present.view);
	if (err < 0)
		log_warn("rendering: %s; serving the previous texts", strerror(-err));
}

static void decide(struct agent *agent, bool fresh, int64_t now_ms)
{
	struct lever_wish wish;
	int err;

	if (agent->shown->sequence == 0)
		return;
	err = judge_decide(agent->judge, agent->shown, fresh, now_ms, &agent->forecast,
			   &agent->decision);
	if (err < 0)
		log_warn("forecast: %s; deciding on the previous one", strerror(-err));
	agent->decided = true;
	if (agent->decision.changed) {
		agent->level_since_wall_ms = clock_wall_ms();
		log_msg(agent->decision.level >= POLICY_THROTTLE ? LOG_LEVEL_WARN : LOG_LEVEL_INFO,
			"level %s", agent->decision.reason);
	}
	wish = (struct lever_wish){
		.throttle = agent->decision.throttle && !agent->stopping,
		.max_concurrent = agent->decision.max_concurrent,
		.reason = agent->decision.reason,
	};
	for (size_t i = 0; i < agent->n_levers; i++)
		agent->levers[i]->ops->want(agent->levers[i], &wish, now_ms);
}

/*
 * One wire for all PIDs of the node, one for the binding cgroup limit, each where the next worse level
 * begins: a storm between two ticks is then looked at when it crosses, not when the tick comes.
 */
static void arm_wires(struct agent *agent)
{
	struct bpf_probe *probe = readers_probe(agent->readers);
	const struct limit_set *limits = &agent->shown->node.limits;
	double ratio = agent->decision.level < POLICY_THROTTLE ?
			       agent->options->headroom_enter_ratio :
			       agent->options->reserve_ratio / 2;
	const struct limit *tightest = NULL;
	uint64_t tightest_threshold = 0;

	if (!probe)
		return;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];
		uint64_t threshold = limit->max - (uint64_t)(ratio * (double)limit->max);

		/* Crossed already: nothing to wait for. */
		if (limit->used >= threshold)
			threshold = 0;
		if (limit->scope == LIMIT_SCOPE_NODE_PIDS) {
			bpf_probe_arm_pid_allocated(probe, threshold);
		} else if (limit->cgroup_id != 0 &&
			   (!tightest || limit_headroom(limit) < limit_headroom(tightest))) {
			tightest = limit;
			tightest_threshold = threshold;
		}
	}
	bpf_probe_arm_cgroup(probe, tightest ? tightest->cgroup_id : 0, tightest_threshold);
}

/* Statistics for one tick in STATS_EVERY, so that what the programs cost is known and the knowing
 * costs nothing. */
static void sample_stats(struct agent *agent)
{
	struct bpf_probe *probe = readers_probe(agent->readers);

	if (!probe)
		return;
	if (agent->ticks % STATS_EVERY == 1)
		bpf_probe_stats_enable(probe);
	else if (agent->ticks % STATS_EVERY == 2)
		bpf_probe_stats_disable(probe);
}

static void tick(struct agent *agent)
{
	int64_t now_ms = clock_mono_ms(), started_ns = clock_mono_ns();
	int err;

	agent->last_tick_ms = now_ms;
	agent->ticks++;
	sample_stats(agent);
	err = readers_read(agent->readers, agent->kubelet ? kubelet_pods(agent->kubelet) : NULL,
			   now_ms, agent->next);
	if (err == 0) {
		struct snapshot *previous = agent->shown;

		agent->next->sequence = previous->sequence + 1;
		agent->next->took_us = (clock_mono_ns() - started_ns) / 1000;
		memcpy(agent->next->bpf_error, previous->bpf_error, sizeof(previous->bpf_error));
		agent->next->kubelet = previous->kubelet;
		agent->shown = agent->next;
		agent->next = previous;
	}
	if (err != agent->tick_error) {
		if (err < 0)
			log_error("reading the node: %s; the last figures stay and grow old",
				  strerror(-err));
		else
			log_info("reading the node: works again");
		agent->tick_error = err;
	}
	if (agent->kubelet && join_pods_unknown(readers_join(agent->readers)) > 0)
		kubelet_poke(agent->kubelet);
	decide(agent, err == 0, now_ms);
	if (err == 0)
		arm_wires(agent);
	show(agent);
}

static void on_tick(struct loop *loop, void *data)
{
	(void)loop;
	tick(data);
}

/* A tick before its time: a wire was crossed, or pods got their names. */
static void tick_soon(struct agent *agent)
{
	int64_t since_ms = clock_mono_ms() - agent->last_tick_ms;

	loop_timer_set(agent->soon_timer, since_ms < TICK_GAP_MS ? TICK_GAP_MS - since_ms : 0);
}

static void on_trip(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct agent *agent = data;
	struct pw_trip trip;
	bool any = false;

	(void)loop;
	(void)fd;
	(void)events;
	while (sentinel_take(agent->sentinel, &trip)) {
		any = true;
		/* Every trip is counted; told are a few, for a storm goes back and forth over a wire. */
		agent->trips_untold++;
		if (agent->trip_told_ms != 0 && clock_mono_ms() - agent->trip_told_ms < TRIP_LOG_MS)
			continue;
		log_info("trip wire: %s reached %" PRIu64 ", watched for %" PRIu64
			 ", when %.16s (process %u) forked; %" PRIu64 " trips since the last line",
			 trip.limit == PW_TRIP_PID_ALLOCATED ? "the node's PIDs in use" :
							       "the tasks under the binding limit",
			 (uint64_t)trip.value, (uint64_t)trip.threshold, trip.comm, trip.tgid,
			 agent->trips_untold);
		agent->trip_told_ms = clock_mono_ms();
		agent->trips_untold = 0;
	}
	if (any)
		tick_soon(agent);
}

/* Folds between ticks: the ring holds some thousand, a storm of short cgroups makes more a second. */
static void on_rare(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct agent *agent = data;

	(void)loop;
	(void)fd;
	(void)events;
	readers_drain(agent->readers);
}

static void on_pods(void *data)
{
	tick_soon(data);
}

static void on_written(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct agent *agent = data;

	(void)loop;
	(void)fd;
	(void)events;
	writer_take_event(agent->writer);
	for (size_t i = 0; i < agent->n_levers; i++)
		agent->levers[i]->ops->poll(agent->levers[i], clock_mono_ms());
}

/* --- start --- */

static int open_sentinel(struct agent *agent)
{
	struct bpf_probe *probe = readers_probe(agent->readers);
	int err;

	snprintf(agent->shown->bpf_error, sizeof(agent->shown->bpf_error), "%s",
		 readers_bpf_error(agent->readers));
	if (!probe)
		return 0;
	err = sentinel_new(probe, &agent->sentinel);
	if (err < 0)
		log_error("sentinel thread: %s", strerror(-err));
	return err;
}

static int64_t journal_put(const char *path, const char *text, uint64_t len, void *data)
{
	struct agent *agent = data;

	return writer_put_file(agent->writer, path, text, len);
}

static int64_t journal_done(void *data)
{
	struct agent *agent = data;

	return writer_done_ticket(agent->writer);
}

static int open_levers(struct agent *agent)
{
	const struct options *options = agent->options;
	char path[PATH_MAX];
	struct lever_webhook_config config = {
		.url = options->webhook_url,
		.node = options->node_name,
		.ttl_ms = options->webhook_ttl_ms,
		.observe = options->mode == OPTIONS_MODE_OBSERVE,
		.journal_path = path,
		.journal = { .put = journal_put, .done = journal_done, .data = agent },
	};
	int err;

	if (options->webhook_url[0] == '\0')
		return 0;
	if (options->mode == OPTIONS_MODE_THROTTLE &&
	    mkdir(options->state_dir, STATE_FILE_MODE) < 0 && errno != EEXIST)
		log_warn("state directory %s: %s; after a crash nobody will know what was in force "
			 "until it expires",
			 options->state_dir, strerror(errno));
	snprintf(path, sizeof(path), "%s/webhook.json", options->state_dir);
	err = lever_webhook_new(agent->loop, agent->http, &config, &agent->levers[agent->n_levers]);
	if (err < 0) {
		log_error("webhook lever: %s", strerror(-err));
		return err;
	}
	agent->n_levers++;
	return 0;
}

static bool pod_alive(const char *cgroup_uid, void *data)
{
	const struct agent *agent = data;

	return join_pod_alive(cgroup_uid, readers_join(agent->readers));
}

static size_t pods_alive(void *data)
{
	const struct agent *agent = data;

	return join_pods_alive(readers_join(agent->readers));
}

static int open_kubelet(struct agent *agent)
{
	const struct options *options = agent->options;
	struct kubelet_options config = {
		.url = options->kubelet_url,
		.insecure = options->kubelet_insecure_skip_verify,
		.interval_ms = options->kubelet_interval_ms,
		.pod_alive = pod_alive,
		.pods_alive = pods_alive,
		.on_update = on_pods,
		.data = agent,
	};
	int err;

	if (options->kubelet_url[0] == '\0') {
		log_info("no kubelet is configured: cgroups are shown by their own names");
		return 0;
	}
	if (options->kubelet_token_file[0] != '\0')
		config.token_file = options->kubelet_token_file;
	if (options->kubelet_ca_file[0] != '\0')
		config.ca_file = options->kubelet_ca_file;
	err = kubelet_new(agent->loop, agent->http, &config, &agent->kubelet);
	if (err < 0)
		log_error("kubelet client: %s", strerror(-err));
	return err;
}

static int open_judge(struct agent *agent)
{
	const struct options *options = agent->options;
	struct judge_config config = {
		.policy = {
			.enter_ratio = options->headroom_enter_ratio,
			.leave_ratio = options->headroom_leave_ratio,
			.reserve_ratio = options->reserve_ratio,
			.min_dwell_ms = options->min_dwell_ms,
			.max_age_ms = 5 * options->interval_ms,
			.hold_expiry_ms = options->webhook_ttl_ms,
		},
		.prior_tasks = (double)options->pids_per_build,
		.deviations = PLAN_DEVIATIONS,
		.shim_tasks = SHIM_TASKS,
		.unknown_ms = UNKNOWN_MS,
	};

	return judge_new(&config, &agent->judge);
}

static int open_surface(struct agent *agent)
{
	struct http_listen listen;
	int err;

	err = http_listen_parse(agent->options->listen, &listen);
	if (err == 0)
		err = surface_new(agent->loop, &listen, &agent->surface);
	if (err < 0) {
		log_error("listening on %s: %s", agent->options->listen, strerror(-err));
		return err;
	}
	log_info("serving on %s (port %u)", agent->options->listen, surface_port(agent->surface));
	return 0;
}

static int watch_all(struct agent *agent)
{
	int err;

	err = loop_timer_new(agent->loop, on_tick, agent, &agent->tick_timer);
	if (err == 0)
		err = loop_timer_new(agent->loop, on_tick, agent, &agent->soon_timer);
	if (err == 0)
		err = loop_add_fd(agent->loop, writer_event_fd(agent->writer), EPOLLIN, on_written,
				  agent);
	if (err == 0 && agent->sentinel)
		err = loop_add_fd(agent->loop, sentinel_event_fd(agent->sentinel), EPOLLIN, on_trip,
				  agent);
	if (err == 0 && readers_probe(agent->readers))
		err = loop_add_fd(agent->loop, bpf_probe_rare_fd(readers_probe(agent->readers)),
				  EPOLLIN, on_rare, agent);
	return err;
}

int agent_new(struct loop *loop, const struct options *options, struct writer *writer,
	      struct agent **ret_agent)
{
	struct agent *agent = calloc(1, sizeof(*agent));
	int err;

	if (!agent)
		return -ENOMEM;
	agent->loop = loop;
	agent->options = options;
	agent->writer = writer;
	agent->level_since_wall_ms = clock_wall_ms();
	agent->shown = &agent->snapshots[0];
	agent->next = &agent->snapshots[1];
	log_info("pidwarden %s, %s mode, node %s", PIDWARDEN_VERSION,
		 options->mode == OPTIONS_MODE_THROTTLE ? "throttle" : "observe",
		 options->node_name);
	err = readers_new(options, &agent->readers);
	if (err == 0)
		err = open_sentinel(agent);
	if (err == 0)
		err = open_judge(agent);
	if (err == 0)
		err = http_client_new(loop, NULL, &agent->http);
	if (err == 0)
		err = open_kubelet(agent);
	if (err == 0)
		err = open_levers(agent);
	if (err == 0)
		err = open_surface(agent);
	if (err == 0)
		err = watch_all(agent);
	if (err < 0) {
		log_error("cannot start: %s", strerror(-err));
		agent_free(agent);
		return err;
	}
	tick(agent);
	loop_timer_every(agent->tick_timer, options->interval_ms);
	*ret_agent = agent;
	return 0;
}

void agent_free(struct agent *agent)
{
	if (!agent)
		return;
	surface_free(agent->surface);
	for (size_t i = 0; i < agent->n_levers; i++)
		agent->levers[i]->ops->free(agent->levers[i]);
	kubelet_free(agent->kubelet);
	http_client_free(agent->http);
	judge_free(agent->judge);
	sentinel_free(agent->sentinel);
	readers_free(agent->readers);
	snapshot_done(&agent->snapshots[0]);
	snapshot_done(&agent->snapshots[1]);
	free(agent);
}

/* Levers answer through the loop: looked at again until nothing is in force. */
static void on_stopping(struct loop *loop, void *data)
{
	struct agent *agent = data;

	for (size_t i = 0; i < agent->n_levers; i++) {
		if (!agent->levers[i]->ops->settled(agent->levers[i])) {
			loop_timer_set(agent->soon_timer, 10);
			return;
		}
	}
	loop_stop(loop);
}

void agent_stop(struct agent *agent)
{
	struct lever_wish nothing = { .throttle = false, .reason = "the agent ends" };

	agent->stopping = true;
	loop_timer_stop(agent->tick_timer);
	loop_timer_free(agent->soon_timer);
	agent->soon_timer = NULL;
	for (size_t i = 0; i < agent->n_levers; i++)
		agent->levers[i]->ops->want(agent->levers[i], &nothing, clock_mono_ms());
	if (loop_timer_new(agent->loop, on_stopping, agent, &agent->soon_timer) < 0) {
		loop_stop(agent->loop);
		return;
	}
	loop_timer_set(agent->soon_timer, 0);
}
