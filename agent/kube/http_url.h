/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A URL as the HTTP client uses it: checked, with its host as a key for the resolver.
 * Refuses: schemes but http and https, users and passwords.
 */
#ifndef PIDWARDEN_KUBE_HTTP_URL_H
#define PIDWARDEN_KUBE_HTTP_URL_H

#include <stdbool.h>

#include "kube/resolver.h"

struct http_url {
	char *text; /* owned */
	char host[RESOLVER_HOST_MAX]; /* an IPv6 address without its brackets */
	char port[8]; /* the scheme's own if none was given */
	bool secure; /* https */
	bool literal; /* the host needs no resolving */
	bool loopback; /* it is this machine */
};

/* Fills the rest from url->text, and normalises that. 0, -ENOMEM or -EINVAL; *ret_error is static
 * text. */
int http_url_parse(struct http_url *url, const char **ret_error);
void http_url_done(struct http_url *url);

#endif
