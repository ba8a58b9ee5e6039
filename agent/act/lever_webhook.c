// SPDX-License-Identifier: Apache-2.0
#include "act/lever_webhook.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/parse.h"

#define NOTHING UINT64_MAX /* no limit: max_concurrent null */
#define TIMEOUT_MS 5000
#define ANSWER_MAX 4096
/* However often the budget changes: at most this many requests a second, and one under way. */
#define COOL_DOWN_MS 100
#define BACKOFF_FIRST_MS 500
#define BACKOFF_MAX_MS 10000
/* The journal is on tmpfs; a machine where even that takes longer is served without it. */
#define JOURNAL_WAIT_MS 200
/* Changes of the number alone are told this often; every one is counted. */
#define ADJUST_LOG_MS 10000

enum stage {
	STAGE_REST,
	STAGE_JOURNAL,
	STAGE_REQUEST
};

struct lever_webhook {
	struct lever base;
	struct loop *loop;
	struct http_client *http;
	struct http_request *request;
	struct loop_timer *timer; /* journal overdue, cool-down or back-off over */
	char *url, *node, *journal_path;
	int64_t ttl_ms;
	bool observe;
	struct lever_journal journal;

	uint64_t wanted; /* or NOTHING */
	char reason[256];
	uint64_t in_force; /* as far as is known, or NOTHING */
	bool confirmed; /* in_force: the generator said so, and not only may have heard of it */
	int64_t expires_ms, refresh_ms; /* monotonic; of what is in force */
	uint64_t sequence; /* last one used */

	enum stage stage;
	uint64_t sending; /* what the request under way asks for */
	int64_t ticket, journal_since_ms;
	int64_t not_before_ms, backoff_ms, adjust_logged_ms;
	char answer[ANSWER_MAX];
	size_t answer_len;
	uint64_t said; /* observe: what was last said */
	char last_error[256];
	uint64_t results[LEVER_RESULTS];
};

static struct lever_webhook *webhook_of(struct lever *lever)
{
	return (struct lever_webhook *)lever;
}

static void step(struct lever_webhook *webhook, int64_t now_ms);

/* --- the record on tmpfs --- */

static int64_t write_journal(struct lever_webhook *webhook, uint64_t max)
{
	int64_t ticket;
	struct buf buf;

	if (!webhook->journal_path || !webhook->journal.put)
		return 0;
	if (max == NOTHING)
		return webhook->journal.put(webhook->journal_path, NULL, 0, webhook->journal.data);
	buf_init(&buf, 0);
	buf_str(&buf, "{\"lever\":\"webhook\",\"url\":");
	buf_json_string(&buf, webhook->url);
	buf_printf(&buf, ",\"sequence\":%" PRIu64 ",\"max_concurrent\":%" PRIu64, webhook->sequence,
		   max);
	buf_printf(&buf, ",\"expires_wall_ms\":%" PRId64 ",\"reason\":",
		   clock_wall_ms() + webhook->ttl_ms);
	buf_json_string(&buf, webhook->reason);
	buf_str(&buf, "}\n");
	ticket = buf.err < 0 ? buf.err :
			       webhook->journal.put(webhook->journal_path, buf.data, buf.len,
						    webhook->journal.data);
	buf_done(&buf);
	return ticket;
}

static bool read_number(const cJSON *object, const char *key, double *ret_value)
{
	const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);

	if (!cJSON_IsNumber(item) || item->valuedouble < 0 || item->valuedouble > 9e15)
		return false;
	*ret_value = item->valuedouble;
	return true;
}

/* What a predecessor left, if it is still in force there. */
static void read_journal(struct lever_webhook *webhook)
{
	int64_t now_ms = clock_mono_ms();
	double sequence, max, expires;
	char text[4096];
	cJSON *record;

	if (!webhook->journal_path ||
	    read_small_file(AT_FDCWD, webhook->journal_path, text, sizeof(text)) <= 0)
		return;
	record = cJSON_Parse(text);
	if (read_number(record, "sequence", &sequence) &&
	    read_number(record, "max_concurrent", &max) &&
	    read_number(record, "expires_wall_ms", &expires)) {
		if ((uint64_t)sequence > webhook->sequence)
			webhook->sequence = (uint64_t)sequence;
		if ((int64_t)expires > clock_wall_ms()) {
			webhook->in_force = (uint64_t)max;
			webhook->confirmed = true;
			webhook->expires_ms = now_ms + (int64_t)expires - clock_wall_ms();
			webhook->refresh_ms = now_ms;
			log_warn("webhook: an agent before this one left a limit of %" PRIu64
				 " builds in force; it is taken over",
				 webhook->in_force);
		}
	} else {
		log_warn(
			"webhook: the record %s cannot be read; what it stands for expires by itself",
			webhook->journal_path);
	}
	cJSON_Delete(record);
}

/* --- one request --- */

static int on_data(int status, const char *bytes, size_t len, void *data)
{
	struct lever_webhook *webhook = data;
	size_t room = sizeof(webhook->answer) - 1 - webhook->answer_len;

	(void)status;
	if (len > room)
		len = room;
	memcpy(webhook->answer + webhook->answer_len, bytes, len);
	webhook->answer_len += len;
	return 0;
}

/* A generator may say {"accepted":false,"reason":…} with 200; one that says nothing has accepted. */
static bool accepted(struct lever_webhook *webhook, char *ret_error, size_t size)
{
	const cJSON *item;
	bool yes = true;
	cJSON *answer;

	webhook->answer[webhook->answer_len] = '\0';
	answer = cJSON_Parse(webhook->answer);
	item = cJSON_GetObjectItemCaseSensitive(answer, "accepted");
	if (cJSON_IsFalse(item)) {
		const char *reason =
			cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(answer, "reason"));

		yes = false;
		snprintf(ret_error, size, "refused: %.200s", reason ? reason : "no reason given");
	}
	cJSON_Delete(answer);
	return yes;
}

static void on_confirmed(struct lever_webhook *webhook, int64_t now_ms)
{
	uint64_t before = webhook->in_force;
	enum lever_result result;

	if (webhook->last_error[0] != '\0')
		log_info("webhook: the generator answers again");
	webhook->last_error[0] = '\0';
	webhook->backoff_ms = 0;
	webhook->in_force = webhook->sending;
	webhook->expires_ms = now_ms + webhook->ttl_ms;
	webhook->refresh_ms = now_ms + webhook->ttl_ms / 3;
	if (webhook->sending == NOTHING) {
		result = LEVER_WITHDRAWN;
		write_journal(webhook, NOTHING);
		log_info("webhook: limit withdrawn (%s)", webhook->reason);
	} else if (before == NOTHING || !webhook->confirmed) {
		result = LEVER_APPLIED;
		log_warn("webhook: at most %" PRIu64 " builds (%s)", webhook->in_force,
			 webhook->reason);
	} else {
		result = before == webhook->in_force ? LEVER_REFRESHED : LEVER_ADJUSTED;
		if (result == LEVER_ADJUSTED &&
		    now_ms - webhook->adjust_logged_ms >= ADJUST_LOG_MS) {
			webhook->adjust_logged_ms = now_ms;
			log_info("webhook: at most %" PRIu64 " builds, before %" PRIu64 " (%s)",
				 webhook->in_force, before, webhook->reason);
		}
	}
	webhook->confirmed = true;
	webhook->results[result]++;
}

/* The answer was lost: the generator may act on what it was asked, so it must be withdrawn in time. */
static void on_unsure(struct lever_webhook *webhook, int64_t now_ms)
{
	if (webhook->sending == NOTHING)
		return;
	webhook->in_force = webhook->sending;
	webhook->confirmed = false;
	webhook->expires_ms = now_ms + webhook->ttl_ms;
	webhook->refresh_ms = now_ms;
}

static void on_failed(struct lever_webhook *webhook, const char *error, int64_t now_ms)
{
	bool first = webhook->last_error[0] == '\0';

	snprintf(webhook->last_error, sizeof(webhook->last_error), "%s", error);
	webhook->results[LEVER_FAILED]++;
	webhook->backoff_ms = webhook->backoff_ms == 0 ? BACKOFF_FIRST_MS : webhook->backoff_ms * 2;
	if (webhook->backoff_ms > BACKOFF_MAX_MS)
		webhook->backoff_ms = BACKOFF_MAX_MS;
	webhook->not_before_ms = now_ms + webhook->backoff_ms;
	if (first)
		log_warn("webhook: %s; trying again, at most every %d s", webhook->last_error,
			 BACKOFF_MAX_MS / 1000);
}

static void on_done(const struct http_result *result, void *data)
{
	struct lever_webhook *webhook = data;
	int64_t now_ms = clock_mono_ms();
	char error[256];

	webhook->request = NULL;
	webhook->stage = STAGE_REST;
	webhook->not_before_ms = now_ms + COOL_DOWN_MS;
	if (result->err < 0) {
		if (result->err != -ECONNREFUSED && result->err != -EHOSTUNREACH)
			on_unsure(webhook, now_ms);
		on_failed(webhook, result->error, now_ms);
		if (result->retry_after_ms > webhook->backoff_ms)
			webhook->not_before_ms = now_ms + result->retry_after_ms;
	} else if (result->status < 200 || result->status > 299) {
		snprintf(error, sizeof(error), "the generator answered %d", result->status);
		on_failed(webhook, error, now_ms);
		if (result->retry_after_ms > webhook->backoff_ms)
			webhook->not_before_ms = now_ms + result->retry_after_ms;
	} else if (!accepted(webhook, error, sizeof(error))) {
		on_failed(webhook, error, now_ms);
	} else {
		on_confirmed(webhook, now_ms);
	}
	step(webhook, now_ms);
}

static void send_request(struct lever_webhook *webhook, int64_t now_ms)
{
	static const char *const headers[] = { "Content-Type: application/json", NULL };
	struct http_request_options request = {
		.method = "POST",
		.url = webhook->url,
		.headers = headers,
		.timeout_ms = TIMEOUT_MS,
		.max_body_bytes = 64 * 1024,
		.on_data = on_data,
		.on_done = on_done,
		.data = webhook,
	};
	struct buf body;
	int err;

	buf_init(&body, 0);
	buf_str(&body, "{\"scope\":\"node\",\"node\":");
	buf_json_string(&body, webhook->node);
	buf_printf(&body, ",\"sequence\":%" PRIu64 ",\"max_concurrent\":", webhook->sequence);
	if (webhook->sending == NOTHING)
		buf_str(&body, "null");
	else
		buf_u64(&body, webhook->sending);
	buf_str(&body, ",\"reason\":");
	buf_json_string(&body, webhook->reason);
	buf_printf(&body, ",\"expires_in_s\":%" PRId64 "}", (webhook->ttl_ms + 999) / 1000);
	request.body = body.data;
	request.body_len = body.len;
	webhook->answer_len = 0;
	webhook->stage = STAGE_REQUEST;
	err = body.err;
	if (err == 0)
		err = http_client_start(webhook->http, &request, &webhook->request);
	buf_done(&body);
	if (err < 0) {
		webhook->stage = STAGE_REST;
		on_failed(webhook, strerror(-err), now_ms);
	}
}

/* --- what to do next --- */

static void expire(struct lever_webhook *webhook, int64_t now_ms)
{
	if (webhook->in_force == NOTHING || now_ms < webhook->expires_ms)
		return;
	webhook->in_force = NOTHING;
	webhook->results[LEVER_EXPIRED]++;
	write_journal(webhook, NOTHING);
	log_warn("webhook: the limit has expired: it could not be renewed or withdrawn");
}

static void observe(struct lever_webhook *webhook)
{
	if (webhook->wanted == webhook->said)
		return;
	webhook->results[LEVER_DRY_RUN]++;
	if (webhook->wanted == NOTHING)
		log_info("webhook: would withdraw the limit (%s)", webhook->reason);
	else if (webhook->said == NOTHING)
		log_info("webhook: would ask for at most %" PRIu64 " builds (%s)", webhook->wanted,
			 webhook->reason);
	webhook->said = webhook->wanted;
}

static void begin(struct lever_webhook *webhook, int64_t now_ms)
{
	/* The wall clock makes a sequence that is new also when the journal was lost with the
	 * machine's memory; it never goes back, whatever the clock does. */
	uint64_t clock_sequence = (uint64_t)clock_wall_ms();

	webhook->sequence++;
	if (clock_sequence > webhook->sequence)
		webhook->sequence = clock_sequence;
	webhook->sending = webhook->wanted;
	/* Withdrawing needs no record: the one that is there says what to undo until it is done. */
	if (webhook->sending == NOTHING || !webhook->journal_path) {
		send_request(webhook, now_ms);
		return;
	}
	webhook->ticket = write_journal(webhook, webhook->sending);
	webhook->journal_since_ms = now_ms;
	webhook->stage = STAGE_JOURNAL;
	if (webhook->ticket < 0) {
		send_request(webhook, now_ms); /* queue full: the writer counts it */
		return;
	}
	loop_timer_set(webhook->timer, JOURNAL_WAIT_MS);
}

static void step(struct lever_webhook *webhook, int64_t now_ms)
{
	bool due;

	expire(webhook, now_ms);
	if (webhook->observe) {
		observe(webhook);
		return;
	}
	if (webhook->stage == STAGE_JOURNAL &&
	    (webhook->journal.done(webhook->journal.data) >= webhook->ticket ||
	     now_ms - webhook->journal_since_ms >= JOURNAL_WAIT_MS)) {
		send_request(webhook, now_ms);
		return;
	}
	if (webhook->stage != STAGE_REST)
		return;
	due = webhook->wanted != webhook->in_force ||
	      (webhook->in_force != NOTHING && now_ms >= webhook->refresh_ms);
	if (!due)
		return;
	if (now_ms < webhook->not_before_ms) {
		loop_timer_set(webhook->timer, webhook->not_before_ms - now_ms);
		return;
	}
	begin(webhook, now_ms);
}

static void on_timer(struct loop *loop, void *data)
{
	(void)loop;
	step(data, clock_mono_ms());
}

static void webhook_want(struct lever *lever, const struct lever_wish *wish, int64_t now_ms)
{
	struct lever_webhook *webhook = webhook_of(lever);

	webhook->wanted = wish->throttle ? wish->max_concurrent : NOTHING;
	snprintf(webhook->reason, sizeof(webhook->reason), "%s", wish->reason);
	step(webhook, now_ms);
}

static void webhook_poll(struct lever *lever, int64_t now_ms)
{
	step(webhook_of(lever), now_ms);
}

static bool webhook_settled(const struct lever *lever)
{
	const struct lever_webhook *webhook = (const struct lever_webhook *)lever;

	return webhook->observe || (webhook->in_force == NOTHING && webhook->stage == STAGE_REST);
}

static void webhook_status(const struct lever *lever, int64_t now_ms,
			   struct lever_status *ret_status)
{
	const struct lever_webhook *webhook = (const struct lever_webhook *)lever;
	uint64_t max = webhook->observe ? webhook->said : webhook->in_force;

	*ret_status = (struct lever_status){ .name = lever->name, .left_ms = -1 };
	if (max == NOTHING)
		snprintf(ret_status->state, sizeof(ret_status->state), "idle");
	else
		snprintf(ret_status->state, sizeof(ret_status->state), "%s %" PRIu64 " builds",
			 webhook->observe ? "would ask for at most" : "at most", max);
	/* A query may carry a secret. */
	snprintf(ret_status->target, sizeof(ret_status->target), "%.*s",
		 (int)strcspn(webhook->url, "?"), webhook->url);
	snprintf(ret_status->last_error, sizeof(ret_status->last_error), "%s", webhook->last_error);
	if (webhook->in_force != NOTHING)
		ret_status->left_ms = webhook->expires_ms - now_ms;
	memcpy(ret_status->results, webhook->results, sizeof(ret_status->results));
}

static void webhook_free(struct lever *lever)
{
	struct lever_webhook *webhook = webhook_of(lever);

	if (!webhook)
		return;
	http_request_cancel(webhook->request);
	loop_timer_free(webhook->timer);
	free(webhook->url);
	free(webhook->node);
	free(webhook->journal_path);
	free(webhook);
}

static const struct lever_ops ops = {
	.want = webhook_want,
	.poll = webhook_poll,
	.settled = webhook_settled,
	.status = webhook_status,
	.free = webhook_free,
};

int lever_webhook_new(struct loop *loop, struct http_client *http,
		      const struct lever_webhook_config *config, struct lever **ret_lever)
{
	struct lever_webhook *webhook = calloc(1, sizeof(*webhook));

	if (!webhook)
		return -ENOMEM;
	webhook->base = (struct lever){ .ops = &ops, .name = "webhook" };
	webhook->loop = loop;
	webhook->http = http;
	webhook->ttl_ms = config->ttl_ms;
	webhook->observe = config->observe;
	webhook->journal = config->journal;
	webhook->wanted = NOTHING;
	webhook->in_force = NOTHING;
	webhook->said = NOTHING;
	webhook->url = strdup(config->url);
	webhook->node = strdup(config->node);
	if (config->journal_path)
		webhook->journal_path = strdup(config->journal_path);
	if (!webhook->url || !webhook->node || (config->journal_path && !webhook->journal_path) ||
	    loop_timer_new(loop, on_timer, webhook, &webhook->timer) < 0) {
		webhook_free(&webhook->base);
		return -ENOMEM;
	}
	/* Observe mode writes nothing anywhere, so it takes nothing over either. */
	if (!webhook->observe)
		read_journal(webhook);
	*ret_lever = &webhook->base;
	return 0;
}
