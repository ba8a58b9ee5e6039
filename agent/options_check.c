// SPDX-License-Identifier: Apache-2.0
#include "options_check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clean.h"
#include "base/parse.h"
#include "options_table.h"
#include "options_value.h"

/* A projected service account token has about 1 KiB; a bundle of authorities a few 100 KiB. */
#define TOKEN_MAX_BYTES 16384
#define CA_MAX_BYTES (1 << 20)

static int fail(struct buf *message, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct buf *message, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(message, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* "http://127.0.0.1:10255": not "http://127.example.com". */
static bool url_is_local(const char *url)
{
	char host[INET6_ADDRSTRLEN + 2] = "";
	const char *at = url + strlen("http://");
	size_t len = *at == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":/?");
	struct in_addr address;

	if (len >= sizeof(host))
		return false;
	memcpy(host, at, len);
	if (inet_pton(AF_INET, host, &address) == 1)
		return ntohl(address.s_addr) >> 24 == IN_LOOPBACKNET;
	return strcmp(host, "[::1]") == 0 || strcmp(host, "localhost") == 0;
}

static int check_directory(struct buf *message, const char *name, const char *path)
{
	const char *defect = "is not a directory";
	struct stat st;

	if (path[0] == '\0')
		return 0;
	if (stat(path, &st) < 0)
		defect = strerror(errno);
	else if (S_ISDIR(st.st_mode))
		return 0;
	buf_printf(message, "%s: ", name);
	options_value_quote(path, message);
	return fail(message, ": %s", defect);
}

/* @ret_data holds @size bytes; what does not fit there is refused. */
static int read_named_file(struct buf *message, const char *name, const char *path, char *ret_data,
			   size_t size)
{
	struct stat st;
	int len;

	/* Looked at first: opening a FIFO would wait for a writer. */
	if (stat(path, &st) < 0)
		len = -errno;
	else if (!S_ISREG(st.st_mode))
		len = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else
		len = read_small_file(AT_FDCWD, path, ret_data, size);
	if (len >= 0 && (size_t)len < size - 1)
		return len;
	buf_printf(message, "%s: ", name);
	options_value_quote(path, message);
	if (len >= 0)
		return fail(message, ": larger than %zu bytes", size - 2);
	return fail(message, ": cannot be read: %s", strerror(-len));
}

static int check_token(const struct options *options, struct buf *message)
{
	const char *path = options->kubelet_token_file;
	char token[TOKEN_MAX_BYTES + 2];
	int len, kept = 0;

	if (path[0] == '\0')
		return 0;
	len = read_named_file(message, "kubelet-token-file", path, token, sizeof(token));
	if (len < 0)
		return len;
	while (len > 0 && (token[len - 1] == '\n' || token[len - 1] == '\r'))
		len--;
	while (kept < len && token[kept] > ' ' && token[kept] <= '~')
		kept++;
	/* A line break inside would add a header of its own to the request. */
	if (len > 0 && kept == len)
		return 0;
	buf_str(message, "kubelet-token-file: ");
	options_value_quote(path, message);
	return fail(message, ": %s",
		    len == 0 ? "is empty" : "is not one line of visible characters");
}

static int check_ca(const struct options *options, struct buf *message)
{
	const char *path = options->kubelet_ca_file;
	clean_free char *data = NULL;
	int len;

	if (path[0] == '\0')
		return 0;
	data = malloc(CA_MAX_BYTES + 2);
	if (!data)
		return -ENOMEM;
	len = read_named_file(message, "kubelet-ca-file", path, data, CA_MAX_BYTES + 2);
	if (len < 0)
		return len;
	if (strstr(data, "-----BEGIN CERTIFICATE-----"))
		return 0;
	buf_str(message, "kubelet-ca-file: ");
	options_value_quote(path, message);
	return fail(message, ": holds no certificate in PEM form");
}

static int check_kubelet(const struct options *options, struct buf *message)
{
	int err;

	if (strchr(options->kubelet_url, '?'))
		return fail(message, "kubelet-url: a base URL has no query (?): /pods is appended");
	if (options->kubelet_ca_file[0] != '\0' && options->kubelet_insecure_skip_verify)
		return fail(message, "kubelet-ca-file and kubelet-insecure-skip-verify contradict "
				     "each other: one checks the certificate, the other does not");
	if (options->kubelet_token_file[0] != '\0' &&
	    strncmp(options->kubelet_url, "http://", 7) == 0 && !url_is_local(options->kubelet_url))
		return fail(message,
			    "kubelet-token-file: would be sent unencrypted to another machine; "
			    "kubelet-url must begin with https://");
	err = check_token(options, message);
	return err < 0 ? err : check_ca(options, message);
}

static int check_ratios(const struct options *options, struct buf *message)
{
	static const char *const names[] = { "headroom-leave", "headroom-enter", "reserve" };
	const char *bigger = names[0], *smaller = names[1], *than = "must be larger than";

	if (options->headroom_leave_ratio > options->headroom_enter_ratio) {
		if (options->headroom_enter_ratio >= options->reserve_ratio)
			return 0;
		bigger = names[1];
		smaller = names[2];
		than = "must not be less than";
	}
	buf_printf(message, "%s (", bigger);
	options_value_write(options_table_find(bigger, strlen(bigger)), options, message);
	buf_printf(message, ") %s %s (", than, smaller);
	options_value_write(options_table_find(smaller, strlen(smaller)), options, message);
	return fail(message, ")");
}

int options_check(const struct options *options, struct buf *message)
{
	int err;

	err = check_ratios(options, message);
	if (err < 0)
		return err;
	if (options->mode == OPTIONS_MODE_THROTTLE) {
		if (options->webhook_url[0] == '\0')
			return fail(message,
				    "mode throttle needs a lever to throttle with, and none is "
				    "configured: give webhook-url, or use mode observe");
		if (options->webhook_ttl_ms < 2 * options->interval_ms)
			return fail(message, "webhook-ttl must be at least twice the interval, or "
					     "hints expire before they are renewed");
	}
	err = check_kubelet(options, message);
	if (err < 0)
		return err;
	err = check_directory(message, "proc-root", options->proc_root);
	if (err < 0)
		return err;
	err = check_directory(message, "cgroup-root", options->cgroup_root);
	if (err < 0)
		return err;
	return check_directory(message, "node-cgroup", options->node_cgroup);
}
