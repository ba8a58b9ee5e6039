/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bearer token file as the header it becomes. Kubernetes replaces projected tokens every hour or
 * so, hence the file is read for each request.
 * Refuses: to block on something that is no file, to let a token end its header.
 */
#ifndef PIDWARDEN_KUBE_HTTP_TOKEN_H
#define PIDWARDEN_KUBE_HTTP_TOKEN_H

#include <stddef.h>

#define HTTP_TOKEN_HEADER_MAX (16u << 10)

/* "Authorization: Bearer ...". 0 or -errno; *ret_error is then static text or that of errno. The
 * caller wipes @ret_header. */
int http_token_header(const char *path, char *ret_header, size_t size, const char **ret_error);

#endif
