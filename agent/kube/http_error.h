/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What libcurl's error codes mean, as an errno for the program and a sentence for the operator.
 */
#ifndef PIDWARDEN_KUBE_HTTP_ERROR_H
#define PIDWARDEN_KUBE_HTTP_ERROR_H

#include <curl/curl.h>

#include "kube/http_client.h"
#include "kube/http_url.h"

struct http_failure {
	CURLcode code;
	CURL *easy;
	const char *detail; /* CURLOPT_ERRORBUFFER */
	const struct http_url *where;
	const char *ca_file; /* may be NULL */
	int64_t timeout_ms;
	size_t max_body_bytes;
	bool header_too_long;
	bool body_too_long;
	int data_err; /* on_data's */
};

/* Sets err and error of @result, in which body_bytes is known. */
void http_error_describe(const struct http_failure *failure, struct http_result *result);

#endif
