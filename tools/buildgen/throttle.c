// SPDX-License-Identifier: Apache-2.0
#include "throttle.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Whole numbers up to here are exact in JSON's doubles. */
#define JSON_WHOLE_MAX 9007199254740992.0
/* Longer would be a hint nobody can outlive. */
#define EXPIRES_MAX_S 86400.0
/* How long a withdrawal's sequence is remembered when it does not say. */
#define WITHDRAWN_MS 60000

static bool take_whole(const cJSON *item, uint64_t *ret_value)
{
	double value = cJSON_IsNumber(item) ? item->valuedouble : -1;

	if (!(value >= 0 && value <= JSON_WHOLE_MAX) || value != (double)(uint64_t)value)
		return false;
	*ret_value = (uint64_t)value;
	return true;
}

static const char *take_scope(const cJSON *root, struct throttle_hint *hint)
{
	const cJSON *scope = cJSON_GetObjectItemCaseSensitive(root, "scope");
	const cJSON *node = cJSON_GetObjectItemCaseSensitive(root, "node");

	if (!cJSON_IsString(scope))
		return "scope is missing or no string";
	if (strcmp(scope->valuestring, "cluster") == 0) {
		hint->cluster = true;
		return NULL;
	}
	if (strcmp(scope->valuestring, "node") != 0)
		return "scope is neither \"node\" nor \"cluster\"";
	if (!cJSON_IsString(node) || node->valuestring[0] == '\0' ||
	    strlen(node->valuestring) >= sizeof(hint->node))
		return "node is missing, empty or longer than 253 bytes";
	memcpy(hint->node, node->valuestring, strlen(node->valuestring) + 1);
	return NULL;
}

static const char *take_values(const cJSON *root, struct throttle_hint *hint)
{
	const cJSON *max = cJSON_GetObjectItemCaseSensitive(root, "max_concurrent");
	const cJSON *expires = cJSON_GetObjectItemCaseSensitive(root, "expires_in_s");
	const cJSON *reason = cJSON_GetObjectItemCaseSensitive(root, "reason");

	if (!take_whole(cJSON_GetObjectItemCaseSensitive(root, "sequence"), &hint->sequence))
		return "sequence is missing or no whole number from 0";
	if (cJSON_IsNull(max))
		hint->max_concurrent = THROTTLE_NONE;
	else if (!take_whole(max, &hint->max_concurrent))
		return "max_concurrent is missing, or neither null nor a whole number from 0";
	if (cJSON_IsNumber(expires) && expires->valuedouble > 0 &&
	    expires->valuedouble <= EXPIRES_MAX_S)
		hint->expires_in_ms = (int64_t)(expires->valuedouble * 1000);
	else if (!expires && hint->max_concurrent == THROTTLE_NONE)
		hint->expires_in_ms = WITHDRAWN_MS;
	else
		return "expires_in_s is missing or not above 0 and at most 86400";
	if (reason && !cJSON_IsString(reason) && !cJSON_IsNull(reason))
		return "reason is no string";
	if (cJSON_IsString(reason))
		snprintf(hint->reason, sizeof(hint->reason), "%s", reason->valuestring);
	return NULL;
}

int throttle_parse(const char *body, size_t len, struct throttle_hint *ret_hint, char *why,
		   size_t why_size)
{
	struct throttle_hint hint = { 0 };
	const char *problem = NULL, *end = NULL;
	cJSON *root = cJSON_ParseWithLengthOpts(body, len, &end, 0);

	if (!root)
		problem = "not JSON";
	else if (!cJSON_IsObject(root))
		problem = "not a JSON object";
	/* cJSON stops after the first value; anything but white space after it is no JSON. */
	for (; !problem && end < body + len; end++)
		if (*end == '\0' || !strchr(" \t\r\n", *end))
			problem = "not JSON: text after the object";
	if (!problem)
		problem = take_scope(root, &hint);
	if (!problem)
		problem = take_values(root, &hint);
	cJSON_Delete(root);
	if (problem) {
		snprintf(why, why_size, "%s", problem);
		return -EINVAL;
	}
	*ret_hint = hint;
	return 0;
}

int throttle_apply(struct throttle *throttle, const struct throttle_hint *hint, int64_t now_ms)
{
	struct throttle_entry *entry = NULL;

	throttle_expire(throttle, now_ms);
	for (size_t i = 0; i < throttle->n && !entry; i++) {
		struct throttle_entry *at = &throttle->entries[i];

		if (at->hint.cluster == hint->cluster && strcmp(at->hint.node, hint->node) == 0)
			entry = at;
	}
	if (entry && hint->sequence < entry->hint.sequence)
		return -ESTALE;
	if (!entry) {
		if (throttle->n == THROTTLE_NODES_MAX)
			return -ENOSPC;
		entry = &throttle->entries[throttle->n++];
	}
	entry->hint = *hint;
	entry->expires_ms = now_ms + hint->expires_in_ms;
	return 0;
}

bool throttle_expire(struct throttle *throttle, int64_t now_ms)
{
	bool changed = false;

	for (size_t i = 0; i < throttle->n;) {
		if (throttle->entries[i].expires_ms > now_ms) {
			i++;
			continue;
		}
		throttle->entries[i] = throttle->entries[--throttle->n];
		changed = true;
	}
	return changed;
}

uint64_t throttle_limit(const struct throttle *throttle)
{
	uint64_t nodes = THROTTLE_NONE, cluster = THROTTLE_NONE;

	for (size_t i = 0; i < throttle->n; i++) {
		const struct throttle_hint *hint = &throttle->entries[i].hint;

		if (hint->max_concurrent == THROTTLE_NONE)
			continue;
		if (hint->cluster)
			cluster = hint->max_concurrent;
		else
			nodes = (nodes == THROTTLE_NONE ? 0 : nodes) + hint->max_concurrent;
	}
	return nodes < cluster ? nodes : cluster;
}
