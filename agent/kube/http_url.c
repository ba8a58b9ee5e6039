// SPDX-License-Identifier: Apache-2.0
#include "kube/http_url.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clean.h"

static void handle_free(CURLU **handle)
{
	curl_url_cleanup(*handle);
}

static void part_free(char **part)
{
	curl_free(*part);
}

static int refuse(const char *error, const char **ret_error)
{
	*ret_error = error;
	return -EINVAL;
}

static int no_memory(const char **ret_error)
{
	*ret_error = "no memory";
	return -ENOMEM;
}

static bool is_loopback(const char *host)
{
	return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
	       (strncmp(host, "127.", 4) == 0 && resolver_is_literal(host));
}

int http_url_parse(struct http_url *url, const char **ret_error)
{
	clean(handle_free) CURLU *handle = curl_url();
	clean(part_free) char *scheme = NULL, *host = NULL, *port = NULL, *user = NULL;
	clean(part_free) char *whole = NULL;
	bool bracketed;
	CURLUcode code;
	size_t len;

	if (!handle)
		return no_memory(ret_error);
	code = curl_url_set(handle, CURLUPART_URL, url->text, 0);
	if (code != CURLUE_OK)
		return refuse(curl_url_strerror(code), ret_error);
	if (curl_url_get(handle, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
	    curl_url_get(handle, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
	    curl_url_get(handle, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK)
		return refuse("it names no host", ret_error);
	url->secure = strcmp(scheme, "https") == 0;
	if (!url->secure && strcmp(scheme, "http") != 0)
		return refuse("neither http:// nor https://", ret_error);
	if (curl_url_get(handle, CURLUPART_USER, &user, 0) == CURLUE_OK)
		return refuse("a user or password does not belong there", ret_error);

	/* "name." is "name" to everybody but the keys of libcurl's address cache. */
	len = strlen(host);
	if (len > 1 && host[len - 1] == '.') {
		host[--len] = '\0';
		if (curl_url_set(handle, CURLUPART_HOST, host, 0) != CURLUE_OK)
			return no_memory(ret_error);
	}
	bracketed = host[0] == '[';
	if (len >= sizeof(url->host) || strlen(port) >= sizeof(url->port))
		return refuse("the host is too long", ret_error);
	snprintf(url->port, sizeof(url->port), "%s", port);
	snprintf(url->host, sizeof(url->host), "%.*s", (int)(bracketed ? len - 2 : len),
		 bracketed ? host + 1 : host);
	url->literal = resolver_is_literal(url->host);
	url->loopback = is_loopback(url->host);
	if (curl_url_get(handle, CURLUPART_URL, &whole, 0) != CURLUE_OK)
		return no_memory(ret_error);
	free(url->text);
	url->text = strdup(whole);
	return url->text ? 0 : no_memory(ret_error);
}

void http_url_done(struct http_url *url)
{
	if (!url)
		return;
	free(url->text);
	url->text = NULL;
}
