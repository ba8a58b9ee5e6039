/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gentlest lever: asks the job generator, by POST, to run at most so many builds on this node.
 * The contract: {"scope":"node","node":…,"sequence":N,"max_concurrent":N|null,"reason":…,
 * "expires_in_s":…}; null withdraws, an older sequence is ignored, and what is not renewed expires.
 * Refuses: to touch a build. A generator that does not listen is not forced.
 */
#ifndef PIDWARDEN_ACT_LEVER_WEBHOOK_H
#define PIDWARDEN_ACT_LEVER_WEBHOOK_H

#include <stdbool.h>
#include <stdint.h>

#include "act/lever.h"
#include "base/loop.h"
#include "kube/http_client.h"

struct lever_webhook_config {
	const char *url;
	const char *node; /* name of this node */
	int64_t ttl_ms; /* sent as expires_in_s, renewed after a third of it */
	bool observe; /* say what would be asked, and ask nothing */
	const char *journal_path; /* what is in force, for a successor; NULL: none is kept */
	struct lever_journal journal;
};

/*
 * Texts are copied. Reads the journal: what a predecessor left in force is taken over, that is,
 * withdrawn by the first wish that does not want it. 0 or -ENOMEM.
 */
int lever_webhook_new(struct loop *loop, struct http_client *http,
		      const struct lever_webhook_config *config, struct lever **ret_lever);

#endif
