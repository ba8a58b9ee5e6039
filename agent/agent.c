// SPDX-License-Identifier: Apache-2.0
#include "agent.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "act/lever_webhook.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/loop.h"
#include "core/cgroup_totals.h"
#include "core/judge.h"
#include "core/snapshot.h"
#include "join.h"
#include "kube/http_client.h"
#include "kube/kubelet.h"
#include "node_limits.h"
#include "options.h"
#include "present.h"
#include "read/bpf_probe.h"
#include "read/cgroup_mount.h"
#include "read/cgroup_tree.h"
#include "read/node_facts.h"
#include "sentinel.h"
#include "show/surface.h"
#include "writer.h"

#define CGROUPS_MAX 65536
/* Kept free of pids.current files: sockets, maps, rings. */
#define FDS_RESERVED 256
#define SHIM_TASKS 12
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

	struct cgroup_mount mount;
	struct cgroup_tree *tree;
	struct bpf_probe *probe; /* NULL: counts of cgroups only */
	struct cgroup_totals *totals;
	struct sentinel *sentinel;
	struct http_client *http;
	struct kubelet *kubelet; /* NULL: not configured */
	struct join *join;
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

static void read_counts(struct agent *agent)
{
	int err;

	if (!agent->probe)
		return;
	err = bpf_probe_update(agent->probe, agent->totals);
	if (err < 0)
		log_debug("BPF counters: %s", strerror(-err));
	/* Parents inherit before the join sums subtrees, so that a container that went between two
	 * ticks is in its pod's totals. */
	cgroup_totals_settle(agent->totals);
}

static void read_limits(struct agent *agent, const struct node_facts *facts, bool facts_known)
{
	const char *node_cgroup = agent->options->node_cgroup;
	struct node_limits_input input = {
		.facts = facts_known ? facts : NULL,
		.tree = agent->tree,
		.own_root = node_cgroup[0] != '\0',
		.mount = agent->mount.path,
		.node_cgroup = node_cgroup,
	};

	if (agent->probe)
		bpf_probe_node_pids(agent->probe, &input.pids_allocated, &input.root_pid_max);
	node_limits_fill(&input, &agent->next->node);
}

static void keep_larger(struct task_totals *now, const struct task_totals *before)
{
	if (now->processes_created < before->processes_created)
		now->processes_created = before->processes_created;
	if (now->threads_created < before->threads_created)
		now->threads_created = before->threads_created;
	if (now->execs < before->execs)
		now->execs = before->execs;
	if (now->exits < before->exits)
		now->exits = before->exits;
}

static void fill_node(struct agent *agent)
{
	struct snapshot *next = agent->next;
	const struct cgroup_entry *entries;
	const struct cgroup_total *total;
	size_t n;

	snprintf(next->node.name, sizeof(next->node.name), "%s", agent->options->node_name);
	next->node.cgroup_mode = cgroup_mode_name(agent->mount.mode);
	next->node.counting = agent->probe != NULL;
	if (!agent->totals)
		return;
	cgroup_totals_node(agent->totals, &next->node.totals);
	if (agent->options->node_cgroup[0] == '\0')
		return;
	/* A node that is a subtree: what was counted elsewhere on the machine is not its. */
	memset(&next->node.totals, 0, sizeof(next->node.totals));
	entries = cgroup_tree_entries(agent->tree, &n);
	for (size_t i = 0; i < n; i++) {
		if (entries[i].id == 0)
			continue;
		total = cgroup_totals_find(agent->totals, entries[i].id);
		if (!total)
			continue;
		next->node.totals.processes_created +=
			total->own.processes_created + total->inherited.processes_created;
		next->node.totals.threads_created +=
			total->own.threads_created + total->inherited.threads_created;
		next->node.totals.execs += total->own.execs + total->inherited.execs;
		next->node.totals.exits += total->own.exits + total->inherited.exits;
	}
	/* Tree and counters are read one after the other: a cgroup that is just being removed may be
	 * in neither for one tick, and a counter must not fall. */
	keep_larger(&next->node.totals, &agent->shown->node.totals);
}

/* Readers into the next snapshot. 0, or -errno: the next snapshot is then not to be shown. */
static int read_all(struct agent *agent, int64_t now_ms)
{
	struct snapshot *next = agent->next;
	struct node_facts facts = { 0 };
	struct join_input input;
	bool facts_known;
	int err;

	err = cgroup_tree_refresh(agent->tree, now_ms);
	if (err < 0)
		return err;
	read_counts(agent);
	facts_known = node_facts_read(agent->options->proc_root, &facts) == 0;
	snapshot_reset(next);
	next->mono_ms = now_ms;
	next->wall_ms = clock_wall_ms();
	input = (struct join_input){
		.tree = agent->tree,
		.totals = agent->totals,
		.pods = agent->kubelet ? kubelet_pods(agent->kubelet) : NULL,
		.now_ms = now_ms,
		.wall_ms = next->wall_ms,
		.node_tasks = facts.tasks,
	};
	err = join_rows(agent->join, &input, next);
	if (err < 0)
		return err;
	read_limits(agent, &facts, facts_known);
	fill_node(agent);
	return 0;
}

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
		.probe = agent->probe,
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
	const struct limit_set *limits = &agent->shown->node.limits;
	double ratio = agent->decision.level < POLICY_THROTTLE ?
			       agent->options->headroom_enter_ratio :
			       agent->options->reserve_ratio / 2;
	const struct limit *tightest = NULL;
	uint64_t tightest_threshold = 0;

	if (!agent->probe)
		return;
	for (size_t i = 0; i < limits->n; i++) {
		const struct limit *limit = &limits->limits[i];
		uint64_t threshold = limit->max - (uint64_t)(ratio * (double)limit->max);

		/* Crossed already: nothing to wait for. */
		if (limit->used >= threshold)
			threshold = 0;
		if (limit->scope == LIMIT_SCOPE_NODE_PIDS) {
			bpf_probe_arm_pid_allocated(agent->probe, threshold);
		} else if (limit->cgroup_id != 0 &&
			   (!tightest || limit_headroom(limit) < limit_headroom(tightest))) {
			tightest = limit;
			tightest_threshold = threshold;
		}
	}
	bpf_probe_arm_cgroup(agent->probe, tightest ? tightest->cgroup_id : 0, tightest_threshold);
}

/* Statistics for one tick in STATS_EVERY, so that what the programs cost is known and the knowing
 * costs nothing. */
static void sample_stats(struct agent *agent)
{
	if (!agent->probe)
		return;
	if (agent->ticks % STATS_EVERY == 1)
		bpf_probe_stats_enable(agent->probe);
	else if (agent->ticks % STATS_EVERY == 2)
		bpf_probe_stats_disable(agent->probe);
}

static void tick(struct agent *agent)
{
	int64_t now_ms = clock_mono_ms(), started_ns = clock_mono_ns();
	int err;

	agent->last_tick_ms = now_ms;
	agent->ticks++;
	sample_stats(agent);
	err = read_all(agent, now_ms);
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
	if (agent->kubelet && join_pods_unknown(agent->join) > 0)
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
	bpf_probe_drain(agent->probe, agent->totals);
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

static size_t max_counter_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur <= 2 * FDS_RESERVED)
		return 0;
	return limit.rlim_cur == RLIM_INFINITY ? CGROUPS_MAX :
						 (size_t)limit.rlim_cur - FDS_RESERVED;
}

static bool counts_pids(const char *dir)
{
	char path[PATH_MAX];

	return snprintf(path, sizeof(path), "%s/pids.current", dir) < (int)sizeof(path) &&
	       access(path, F_OK) == 0;
}

static int open_cgroups(struct agent *agent)
{
	const struct options *options = agent->options;
	const char *root;
	int err;

	err = cgroup_mount_find(options->proc_root, options->cgroup_root, &agent->mount);
	if (err < 0) {
		log_error(
			"no cgroup hierarchy with the pids controller %s%s: nothing can be counted",
			options->cgroup_root[0] != '\0' ? "below " : "is mounted",
			options->cgroup_root);
		return err;
	}
	root = options->node_cgroup[0] != '\0' ? options->node_cgroup : agent->mount.path;
	if (strcmp(root, agent->mount.path) != 0 && !counts_pids(root)) {
		log_error("node-cgroup %s: no cgroup in which pids are counted (it has no file "
			  "pids.current); the pids hierarchy is at %s",
			  root, agent->mount.path);
		return -EINVAL;
	}
	err = cgroup_tree_new(root, CGROUPS_MAX, max_counter_fds(), &agent->tree);
	if (err < 0) {
		log_error("cgroup directory %s: %s", root, strerror(-err));
		return err;
	}
	log_info("cgroups: %s, pids hierarchy at %s, node is %s",
		 cgroup_mode_name(agent->mount.mode), agent->mount.path, root);
	return 0;
}

/* Without BPF the agent runs on: what is lost is said here and shown on every surface. */
static int open_probe(struct agent *agent)
{
	struct bpf_probe_error why;
	int err;

	if (agent->options->no_bpf) {
		snprintf(agent->shown->bpf_error, sizeof(agent->shown->bpf_error),
			 "switched off by --no-bpf");
		log_info("BPF is switched off: cgroup counts only");
		return 0;
	}
	err = bpf_probe_new(NULL, &agent->probe, &why);
	if (err < 0) {
		snprintf(agent->shown->bpf_error, sizeof(agent->shown->bpf_error), "%s", why.text);
		log_warn("%s", why.text);
		if (why.detail[0] != '\0')
			log_info("libbpf: %s", why.detail);
		agent->probe = NULL;
		return 0;
	}
	err = cgroup_totals_new(CGROUPS_MAX, &agent->totals);
	if (err < 0)
		return err;
	err = sentinel_new(agent->probe, &agent->sentinel);
	if (err < 0) {
		log_error("sentinel thread: %s", strerror(-err));
		return err;
	}
	/* Parsing BTF takes 12 MB of which 1.4 MB stay: give the rest back. */
	malloc_trim(0);
	return 0;
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

	return join_pod_alive(cgroup_uid, agent->join);
}

static size_t pods_alive(void *data)
{
	const struct agent *agent = data;

	return join_pods_alive(agent->join);
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
	if (err == 0 && agent->probe)
		err = loop_add_fd(agent->loop, bpf_probe_rare_fd(agent->probe), EPOLLIN, on_rare,
				  agent);
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
	err = open_cgroups(agent);
	if (err == 0)
		err = open_probe(agent);
	if (err == 0)
		err = join_new(&agent->join);
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
	join_free(agent->join);
	sentinel_free(agent->sentinel);
	cgroup_totals_free(agent->totals);
	bpf_probe_free(agent->probe);
	cgroup_tree_free(agent->tree);
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
