/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hints in force: what pidwarden asked for by POST /throttle, and how many builds may run by
 * it. At most the sum of the node scopes, capped by the cluster scope; each expires by itself.
 * Refuses: to read a clock, to start or stop anything.
 */
#ifndef BUILDGEN_THROTTLE_H
#define BUILDGEN_THROTTLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define THROTTLE_NONE UINT64_MAX /* no limit: "max_concurrent": null */
#define THROTTLE_NODES_MAX 1024
#define THROTTLE_NODE_SIZE 254 /* a Kubernetes name and its NUL */
#define THROTTLE_REASON_SIZE 256

struct throttle_hint {
	bool cluster; /* scope; node is empty then */
	char node[THROTTLE_NODE_SIZE];
	uint64_t sequence;
	uint64_t max_concurrent; /* THROTTLE_NONE: withdrawn */
	int64_t expires_in_ms;
	char reason[THROTTLE_REASON_SIZE];
};

struct throttle_entry {
	struct throttle_hint hint;
	int64_t expires_ms; /* monotonic */
};

struct throttle {
	struct throttle_entry entries[THROTTLE_NODES_MAX];
	size_t n;
};

/* Takes a request body apart. -EINVAL: @why says what is wrong with it, for the 400 answer. */
int throttle_parse(const char *body, size_t len, struct throttle_hint *ret_hint, char *why,
		   size_t why_size);
/*
 * Puts @hint in force. -ESTALE: its sequence is older than the one in force for the same scope and
 * node, nothing changed; an equal one is a repetition and renews the expiry. -ENOSPC: too many
 * nodes.
 */
int throttle_apply(struct throttle *throttle, const struct throttle_hint *hint, int64_t now_ms);
/* Forgets what has expired; a forgotten sequence no longer counts, so a restarted agent that
 * counts from 1 again is heard after one expiry. True when the limit may have changed. */
bool throttle_expire(struct throttle *throttle, int64_t now_ms);
/* Builds that may run now, THROTTLE_NONE when nothing limits them. */
uint64_t throttle_limit(const struct throttle *throttle);

#endif
