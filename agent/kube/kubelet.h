/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node's pods as the kubelet names them: GET <url>/pods, streamed into a pod table that is
 * swapped in when the answer is good. A bad answer changes nothing but the state.
 * Refuses: counts (the kernel's are better), to write anything, to ask more often than helps.
 */
#ifndef PIDWARDEN_KUBE_KUBELET_H
#define PIDWARDEN_KUBE_KUBELET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "core/pod_table.h"
#include "core/snapshot.h"
#include "kube/http_client.h"

struct kubelet;

struct kubelet_options {
	const char *url; /* base URL; "/pods" is appended */
	const char *token_file; /* may be NULL, as in http_request_options */
	const char *ca_file;
	bool insecure;
	int64_t interval_ms; /* between requests, +-10 %; 0: 10 s */
	int64_t timeout_ms; /* of one request; 0: 5 s */
	size_t max_body_bytes; /* 0: 64 MiB */
	const struct builder_table *builders; /* outlives the kubelet; NULL: builders_default() */
	/* What the kernel has, by the caller's last look, asked when a list arrives; see struct
	 * pod_liveness. Both or neither. */
	bool (*pod_alive)(const char *cgroup_uid, void *data);
	size_t (*pods_alive)(void *data);
	/* After a request, when table and state are new. May call kubelet_poke(). May be NULL. */
	void (*on_update)(void *data);
	void *data;
};

/* Texts are copied. The first request goes out at once. 0, -ENOMEM. */
int kubelet_new(struct loop *loop, struct http_client *http, const struct kubelet_options *options,
		struct kubelet **ret_kubelet);
/* Before the HTTP client is freed; not from on_update. */
void kubelet_free(struct kubelet *kubelet);

/*
 * A pod or container that the table does not know was seen: ask soon. Pokes of 200 ms are one
 * request; while answers bring nothing new the gap grows from 1 s to 5 s; a kubelet that fails is
 * left to its back-off (1 s, doubled to 30 s, with jitter).
 */
void kubelet_poke(struct kubelet *kubelet);

/* The last good list, NULL before the first; good until the next on_update. */
const struct pod_table *kubelet_pods(const struct kubelet *kubelet);
const struct source_state *kubelet_state(const struct kubelet *kubelet);

#endif
