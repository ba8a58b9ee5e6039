// SPDX-License-Identifier: Apache-2.0
#include "kube/http_error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void __attribute__((format(printf, 3, 4)))
say(struct http_result *result, int err, const char *fmt, ...)
{
	va_list args;

	result->err = err;
	va_start(args, fmt);
	vsnprintf(result->error, sizeof(result->error), fmt, args);
	va_end(args);
}

static void describe_refusal(const struct http_failure *failure, struct http_result *result)
{
	const char *host = failure->where->host, *port = failure->where->port;

	if (failure->header_too_long)
		say(result, -EIO, "the headers of %s port %s are too long", host, port);
	else if (failure->body_too_long)
		say(result, -EFBIG, "the answer of %s port %s is longer than %zu bytes", host, port,
		    failure->max_body_bytes);
	else
		say(result, failure->data_err < 0 ? failure->data_err : -EIO,
		    "the answer of %s port %s was refused: %s", host, port,
		    strerror(failure->data_err < 0 ? -failure->data_err : EIO));
}

void http_error_describe(const struct http_failure *failure, struct http_result *result)
{
	const char *detail = *failure->detail != '\0' ? failure->detail :
							curl_easy_strerror(failure->code);
	const char *host = failure->where->host, *port = failure->where->port;
	curl_off_t sent_us = 0;
	long os_errno = 0;

	curl_easy_getinfo(failure->easy, CURLINFO_OS_ERRNO, &os_errno);
	curl_easy_getinfo(failure->easy, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
	switch (failure->code) {
	case CURLE_COULDNT_CONNECT:
		say(result, -ECONNREFUSED, "cannot connect to %s port %s: %s", host, port,
		    os_errno > 0 ? strerror((int)os_errno) : detail);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		if (sent_us == 0)
			say(result, -ETIMEDOUT, "no connection to %s port %s in time", host, port);
		else
			say(result, -ETIMEDOUT,
			    "no whole answer from %s port %s within %lld ms (%zu bytes came)", host,
			    port, (long long)failure->timeout_ms, result->body_bytes);
		return;
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_ISSUER_ERROR:
		say(result, -EKEYREJECTED, "the certificate of %s port %s is not trusted: %s", host,
		    port, detail);
		return;
	case CURLE_SSL_CACERT_BADFILE:
		say(result, -EKEYREJECTED, "the CA file %s cannot be used: %s",
		    failure->ca_file ? failure->ca_file : "of the system", detail);
		return;
	case CURLE_SSL_CONNECT_ERROR:
		say(result, -ECONNRESET, "no TLS with %s port %s: %s", host, port, detail);
		return;
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		say(result, -ECONNRESET,
		    "%s port %s closed before the end of its answer (%zu bytes came)", host, port,
		    result->body_bytes);
		return;
	case CURLE_WRITE_ERROR:
		describe_refusal(failure, result);
		return;
	default:
		say(result, -EIO, "the request to %s port %s failed: %s", host, port, detail);
	}
}
