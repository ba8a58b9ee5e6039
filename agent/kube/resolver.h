/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host names to addresses inside the loop, by c-ares; the last good addresses of a name stay
 * usable when it cannot be resolved any more.
 * Refuses: to block, to make a thread (Debian's libcurl makes one for every name it resolves,
 * which fails when no PID is left).
 */
#ifndef PIDWARDEN_KUBE_RESOLVER_H
#define PIDWARDEN_KUBE_RESOLVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

/* A text of addresses as CURLOPT_RESOLVE takes it: "10.0.0.1,[fd00::1]". */
#define RESOLVER_ADDRESSES_MAX 512
#define RESOLVER_HOST_MAX 254

struct resolver;

/* @err 0, or negative with @error as one sentence. Addresses are read by resolver_get(). May call
 * any function of the resolver, resolver_free() included. */
typedef void (*resolver_answer_fn)(const char *host, int err, const char *error, void *data);

struct resolver_options {
	const char *servers; /* "127.0.0.1:5353,…"; NULL: /etc/resolv.conf, read for each query */
	int64_t timeout_ms; /* of a whole query; 0: 2 s */
	int64_t refresh_ms; /* addresses older than this are asked for again; 0: 60 s */
	resolver_answer_fn on_answer;
	void *data;
};

struct resolver_stats {
	uint64_t queries;
	uint64_t failures;
	uint64_t stale_answers; /* addresses given out although the last query failed */
};

/* Texts in @options are copied. 0, -ENOMEM, -EINVAL. */
int resolver_new(struct loop *loop, const struct resolver_options *options,
		 struct resolver **ret_resolver);
/* No on_answer is called any more. */
void resolver_free(struct resolver *resolver);

/* Is @host an IP address ("::1" without brackets) or localhost, which are never asked for? */
bool resolver_is_literal(const char *host);

/*
 * 0: *ret_addresses is good until the next call of any function here; if it is old, a query runs
 * in the background. -EINPROGRESS: on_answer follows, never from within this call. -EINVAL: no
 * host name. -ENOMEM.
 */
int resolver_get(struct resolver *resolver, const char *host, const char **ret_addresses);
/* A connection to the addresses of @host failed: they are asked for again by the next get. */
void resolver_suspect(struct resolver *resolver, const char *host);

const struct resolver_stats *resolver_stats(const struct resolver *resolver);

#endif
