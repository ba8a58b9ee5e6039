// SPDX-License-Identifier: Apache-2.0
#include "kube/kubelet.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "core/json_items.h"

#define DEFAULT_INTERVAL_MS 10000
#define DEFAULT_TIMEOUT_MS 5000
#define DEFAULT_MAX_BODY_BYTES (64u << 20)
/* A new pod's cgroups appear within 20 ms of each other; its entry in /pods 20 ms later. */
#define DEBOUNCE_MS 200
#define POKE_GAP_MIN_MS 1000
#define POKE_GAP_MAX_MS 5000
#define BACKOFF_MIN_MS 1000
#define BACKOFF_MAX_MS 30000
#define QUOTE_MAX 100 /* bytes of an error's body */
#define HTTP_OK 200

struct kubelet {
	struct loop *loop;
	struct http_client *http;
	struct kubelet_options options;
	char *url, *token_file, *ca_file;
	struct source_state state;
	struct pod_table *pods;
	struct loop_timer *timer;
	int64_t due_ms; /* when the timer fires, monotonic */
	int64_t asked_ms; /* when the last request began */
	int64_t poke_gap_ms; /* between requests that pokes made; 0: the last one helped */
	bool due_by_poke;
	int64_t backoff_ms;
	uint64_t random;

	/* The request under way. */
	struct http_request *request;
	struct json_items *parser;
	struct pod_table *next;
	struct pod_container containers[POD_CONTAINERS_MAX]; /* of the pod being parsed */
	size_t unusable; /* items that are no pods, or beyond the table's caps */
	size_t news; /* pods and containers that the table does not know */
	bool for_poke; /* a poke made it */
	bool poked; /* while it was under way */
	char quote[QUOTE_MAX + 1];
	size_t quote_len;
};

/* xorshift64: it only spreads requests of many nodes in time. */
static uint64_t next_random(struct kubelet *kubelet)
{
	kubelet->random ^= kubelet->random << 13;
	kubelet->random ^= kubelet->random >> 7;
	kubelet->random ^= kubelet->random << 17;
	return kubelet->random;
}

/* Within @percent of @ms, either way. */
static int64_t jitter(struct kubelet *kubelet, int64_t ms, int64_t percent)
{
	int64_t width = 2 * ms * percent / 100 + 1;

	return ms - ms * percent / 100 + (int64_t)(next_random(kubelet) % (uint64_t)width);
}

static void schedule(struct kubelet *kubelet, int64_t delay_ms)
{
	kubelet->due_ms = loop_now_ms(kubelet->loop) + delay_ms;
	kubelet->due_by_poke = false;
	loop_timer_set(kubelet->timer, delay_ms);
}

/* ---- an answer arrives ---- */

static bool has_news(const struct kubelet *kubelet, const struct pod_identity *pod)
{
	if (!pod_table_find(kubelet->pods, pod->cgroup_uid))
		return true;
	for (size_t i = 0; i < pod->n_containers; i++) {
		const char *id = kubelet->containers[i].id;

		if (*id != '\0' && !pod_table_find_container(kubelet->pods, id, NULL))
			return true;
	}
	return false;
}

static int on_item(const char *json, size_t len, void *data)
{
	struct kubelet *kubelet = data;
	struct pod_identity pod;
	int err;

	err = pod_parse(json, len, kubelet->options.builders, &pod, kubelet->containers);
	if (err == 0)
		err = pod_table_add(kubelet->next, &pod, kubelet->containers);
	if (err == -ENOMEM)
		return err;
	if (err < 0)
		kubelet->unusable++;
	else if (has_news(kubelet, &pod))
		kubelet->news++;
	return 0;
}

static int on_data(int status, const char *bytes, size_t len, void *data)
{
	struct kubelet *kubelet = data;

	if (status == HTTP_OK)
		return json_items_feed(kubelet->parser, bytes, len);
	if (len > QUOTE_MAX - kubelet->quote_len)
		len = QUOTE_MAX - kubelet->quote_len;
	memcpy(kubelet->quote + kubelet->quote_len, bytes, len);
	kubelet->quote_len += len;
	return 0;
}

/* The beginning of an error's body as one printable line. */
static const char *quoted(struct kubelet *kubelet)
{
	char *quote = kubelet->quote;

	while (kubelet->quote_len > 0 && strchr(" \r\n\t", quote[kubelet->quote_len - 1]))
		kubelet->quote_len--;
	quote[kubelet->quote_len] = '\0';
	for (size_t i = 0; i < kubelet->quote_len; i++) {
		if (quote[i] < ' ' || quote[i] > '~')
			quote[i] = '?';
	}
	return quote;
}

static int __attribute__((format(printf, 3, 4)))
refuse(struct kubelet *kubelet, int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(kubelet->state.error, sizeof(kubelet->state.error), fmt, args);
	va_end(args);
	return err;
}

/* The whole list in kubelet->next, if it can be believed, becomes the table. */
static int take_list(struct kubelet *kubelet)
{
	const struct json_items_stats *stats = json_items_stats(kubelet->parser);
	struct pod_liveness live = { .alive = kubelet->options.pod_alive,
				     .data = kubelet->options.data };
	struct pod_table *next = kubelet->next;
	struct pod_table_swap swap = { 0 };
	size_t skipped = stats->skipped + kubelet->unusable;
	int err;

	if (*stats->kind != '\0' && strcmp(stats->kind, "PodList") != 0)
		return refuse(kubelet, -EBADMSG, "the kubelet answered with no pod list");
	if (stats->seen > 0 && skipped >= stats->seen)
		return refuse(kubelet, -EBADMSG, "none of the kubelet's %zu pods can be used",
			      stats->seen);
	if (kubelet->options.pods_alive)
		live.n_alive = kubelet->options.pods_alive(kubelet->options.data);
	kubelet->next = NULL;
	err = pod_table_swap(&kubelet->pods, next, &live, &swap);
	if (err == -EAGAIN)
		return refuse(kubelet, err,
			      "the kubelet lists %zu pods while %zu pod cgroups have tasks",
			      swap.listed, live.n_alive);
	if (err < 0)
		return refuse(kubelet, err, "no memory for the kubelet's pods");
	kubelet->state.items_skipped = skipped;
	return 0;
}

/* Judges the finished request. 0, or an errno with its sentence in the state. */
static int judge(struct kubelet *kubelet, const struct http_result *result)
{
	const char *error = json_items_error(kubelet->parser);
	int err;

	/* Parsing gave the transfer up: its reason is the better one. */
	if (result->err < 0 && error)
		return refuse(kubelet, result->err,
			      "the kubelet's pod list is broken at byte %zu: %s",
			      json_items_stats(kubelet->parser)->bytes, error);
	if (result->err < 0)
		return refuse(kubelet, result->err, "%s", result->error);
	if (result->status != HTTP_OK)
		return refuse(kubelet, -EACCES, "the kubelet answered %d%s%s", result->status,
			      kubelet->quote_len > 0 ? ": " : "", quoted(kubelet));
	err = json_items_finish(kubelet->parser);
	if (err < 0)
		return refuse(kubelet, err, "the kubelet's pod list is broken at byte %zu: %s",
			      json_items_stats(kubelet->parser)->bytes,
			      json_items_error(kubelet->parser));
	return take_list(kubelet);
}

static void turned_good(struct kubelet *kubelet)
{
	if (!kubelet->state.up)
		log_info("kubelet: %zu pods%s", pod_table_count(kubelet->pods),
			 kubelet->state.ever ? ", it answers again" : "");
	kubelet->state.up = true;
	kubelet->state.ever = true;
	kubelet->state.error[0] = '\0';
	kubelet->state.last_good_wall_ms = clock_wall_ms();
	kubelet->backoff_ms = 0;
	/* A request that no poke made says that nothing unknown is there to be asked for. */
	if (kubelet->news > 0 || !kubelet->for_poke)
		kubelet->poke_gap_ms = 0;
	else if (kubelet->poke_gap_ms == 0)
		kubelet->poke_gap_ms = POKE_GAP_MIN_MS;
	else
		kubelet->poke_gap_ms *= 2;
	if (kubelet->poke_gap_ms > POKE_GAP_MAX_MS)
		kubelet->poke_gap_ms = POKE_GAP_MAX_MS;
	schedule(kubelet, jitter(kubelet, kubelet->options.interval_ms, 10));
}

static void turned_bad(struct kubelet *kubelet, int64_t retry_after_ms)
{
	struct source_state *state = &kubelet->state;
	int64_t delay_ms;

	if (state->up || state->failures == 0)
		log_warn("kubelet: %s; keeping %zu pods known before", state->error,
			 pod_table_count(kubelet->pods));
	state->up = false;
	state->failures++;
	kubelet->backoff_ms = kubelet->backoff_ms > 0 ? kubelet->backoff_ms * 2 : BACKOFF_MIN_MS;
	if (kubelet->backoff_ms > BACKOFF_MAX_MS)
		kubelet->backoff_ms = BACKOFF_MAX_MS;
	delay_ms = jitter(kubelet, kubelet->backoff_ms, 25);
	if (retry_after_ms > delay_ms)
		delay_ms = retry_after_ms;
	schedule(kubelet, delay_ms < BACKOFF_MAX_MS ? delay_ms : BACKOFF_MAX_MS);
}

static void on_done(const struct http_result *result, void *data)
{
	struct kubelet *kubelet = data;
	bool poked = kubelet->poked;
	int err;

	kubelet->request = NULL;
	kubelet->poked = false;
	err = judge(kubelet, result);
	pod_table_free(kubelet->next);
	kubelet->next = NULL;
	json_items_reset(kubelet->parser);
	if (err == 0)
		turned_good(kubelet);
	else
		turned_bad(kubelet, result->retry_after_ms);
	/* The poke's pod may be younger than the answer. */
	if (poked)
		kubelet_poke(kubelet);
	if (kubelet->options.on_update)
		kubelet->options.on_update(kubelet->options.data);
}

/* ---- asking ---- */

static void ask(struct loop *loop, void *data)
{
	struct kubelet *kubelet = data;
	static const char *const headers[] = { "Accept: application/json", NULL };
	const struct http_request_options request = {
		.url = kubelet->url,
		.headers = headers,
		.token_file = kubelet->token_file,
		.ca_file = kubelet->ca_file,
		.insecure = kubelet->options.insecure,
		.timeout_ms = kubelet->options.timeout_ms,
		.max_body_bytes = kubelet->options.max_body_bytes,
		.on_data = on_data,
		.on_done = on_done,
		.data = kubelet,
	};
	int err;

	if (kubelet->request)
		return;
	kubelet->asked_ms = loop_now_ms(loop);
	kubelet->for_poke = kubelet->due_by_poke;
	kubelet->state.requests++;
	kubelet->unusable = 0;
	kubelet->news = 0;
	kubelet->quote_len = 0;
	err = pod_table_new(&kubelet->next);
	if (err == 0)
		err = http_client_start(kubelet->http, &request, &kubelet->request);
	if (err < 0) {
		pod_table_free(kubelet->next);
		kubelet->next = NULL;
		refuse(kubelet, err, "no memory to ask the kubelet");
		turned_bad(kubelet, -1);
	}
}

void kubelet_poke(struct kubelet *kubelet)
{
	int64_t now_ms = loop_now_ms(kubelet->loop);
	int64_t at_ms = now_ms + DEBOUNCE_MS;

	if (kubelet->request) {
		kubelet->poked = true;
		return;
	}
	/* Before the first answer and while it fails the timer is near enough. */
	if (!kubelet->state.up)
		return;
	if (at_ms < kubelet->asked_ms + kubelet->poke_gap_ms)
		at_ms = kubelet->asked_ms + kubelet->poke_gap_ms;
	if (at_ms < kubelet->due_ms)
		schedule(kubelet, at_ms - now_ms);
	kubelet->due_by_poke = true;
}

const struct pod_table *kubelet_pods(const struct kubelet *kubelet)
{
	return kubelet->pods;
}

const struct source_state *kubelet_state(const struct kubelet *kubelet)
{
	return &kubelet->state;
}

static int copy_text(const char *text, char **ret_copy)
{
	if (!text || *text == '\0')
		return 0;
	*ret_copy = strdup(text);
	return *ret_copy ? 0 : -ENOMEM;
}

static int copy_options(struct kubelet *kubelet, const struct kubelet_options *options)
{
	size_t len = strlen(options->url);

	kubelet->options = *options;
	if (kubelet->options.interval_ms <= 0)
		kubelet->options.interval_ms = DEFAULT_INTERVAL_MS;
	if (kubelet->options.timeout_ms <= 0)
		kubelet->options.timeout_ms = DEFAULT_TIMEOUT_MS;
	if (kubelet->options.max_body_bytes == 0)
		kubelet->options.max_body_bytes = DEFAULT_MAX_BODY_BYTES;
	if (!kubelet->options.builders)
		kubelet->options.builders = builders_default();
	while (len > 0 && options->url[len - 1] == '/')
		len--;
	if (asprintf(&kubelet->url, "%.*s/pods", (int)len, options->url) < 0) {
		kubelet->url = NULL;
		return -ENOMEM;
	}
	if (copy_text(options->token_file, &kubelet->token_file) < 0)
		return -ENOMEM;
	return copy_text(options->ca_file, &kubelet->ca_file);
}

int kubelet_new(struct loop *loop, struct http_client *http, const struct kubelet_options *options,
		struct kubelet **ret_kubelet)
{
	const struct json_items_limits limits = { .body_bytes = options->max_body_bytes };
	struct kubelet *kubelet = calloc(1, sizeof(*kubelet));
	int err;

	if (!kubelet)
		return -ENOMEM;
	kubelet->loop = loop;
	kubelet->http = http;
	kubelet->state.configured = true;
	if (getrandom(&kubelet->random, sizeof(kubelet->random), GRND_NONBLOCK) < 0)
		kubelet->random = (uint64_t)clock_mono_ns();
	kubelet->random |= 1; /* xorshift stays at 0 for ever */
	err = copy_options(kubelet, options);
	if (err == 0)
		err = json_items_new(&limits, on_item, kubelet, &kubelet->parser);
	if (err == 0)
		err = loop_timer_new(loop, ask, kubelet, &kubelet->timer);
	if (err < 0) {
		kubelet_free(kubelet);
		return err;
	}
	schedule(kubelet, 0);
	*ret_kubelet = kubelet;
	return 0;
}

void kubelet_free(struct kubelet *kubelet)
{
	if (!kubelet)
		return;
	http_request_cancel(kubelet->request);
	loop_timer_free(kubelet->timer);
	json_items_free(kubelet->parser);
	pod_table_free(kubelet->next);
	pod_table_free(kubelet->pods);
	free(kubelet->url);
	free(kubelet->token_file);
	free(kubelet->ca_file);
	free(kubelet);
}
