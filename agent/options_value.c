// SPDX-License-Identifier: Apache-2.0
#include "options_value.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"
#include "base/parse.h"

/* PATH_MAX; a URL that long would be refused by the servers it is meant for. */
#define TEXT_MAX 4096
#define QUOTE_MAX 60
#define PERCENT_SCALE 100 /* ratios are compared as hundredths of a percent */

static void *field(const struct option_row *row, struct options *options)
{
	return (char *)options + row->offset;
}

static const void *field_const(const struct option_row *row, const struct options *options)
{
	return (const char *)options + row->offset;
}

void options_value_quote(const char *text, struct buf *out)
{
	char shown[QUOTE_MAX + 1];
	size_t len = 0;

	while (text[len] != '\0') {
		size_t n = utf8_sequence(text + len, strnlen(text + len, 4));

		n = n > 0 ? n : 1;
		if (len + n > QUOTE_MAX)
			break;
		len += n;
	}
	memcpy(shown, text, len);
	shown[len] = '\0';
	buf_char(out, '"');
	buf_printable(out, shown);
	buf_str(out, text[len] != '\0' ? "...\"" : "\"");
}

static int refuse(struct buf *why, const char *text, const char *reason)
{
	options_value_quote(text, why);
	buf_printf(why, " %s", reason);
	return -EINVAL;
}

/* NULL when @text is plain, printable UTF-8: it will be logged and sent in headers. */
static const char *text_defect(const char *text)
{
	size_t left = strnlen(text, TEXT_MAX + 1);

	if (left > TEXT_MAX)
		return "is too long: 4096 bytes at most";
	while (left > 0) {
		size_t n = utf8_sequence(text, left);
		unsigned char c = (unsigned char)*text;

		if (n == 0)
			return "is not UTF-8";
		if (c < 0x20 || c == 0x7f || (n == 2 && c == 0xc2 && (unsigned char)text[1] < 0xa0))
			return "holds control characters";
		text += n;
		left -= n;
	}
	return NULL;
}

static const char *port_defect(const char *text, uint64_t min)
{
	uint64_t port;

	if (parse_u64(text, &port) < 0 || port < min || port > UINT16_MAX)
		return min == 0 ? "has no port from 0 to 65535 after the address" :
				  "has no port from 1 to 65535 after the host";
	return NULL;
}

static const char *host_defect(const char *host)
{
	struct in6_addr address;
	size_t len = strlen(host);

	if (len == 0)
		return "has no host";
	if (len > 255)
		return "has a host name that is too long";
	if (host[0] == '[') {
		char inner[INET6_ADDRSTRLEN];

		if (len < 3 || host[len - 1] != ']' || len - 2 >= sizeof(inner))
			return "has no IPv6 address in its brackets";
		memcpy(inner, host + 1, len - 2);
		inner[len - 2] = '\0';
		return inet_pton(AF_INET6, inner, &address) == 1 ?
			       NULL :
			       "has no IPv6 address in its brackets";
	}
	for (const char *c = host; *c != '\0'; c++) {
		if ((*c < 'a' || *c > 'z') && (*c < 'A' || *c > 'Z') && (*c < '0' || *c > '9') &&
		    *c != '.' && *c != '-' && *c != '_')
			return "has a host with a character that no host name has";
	}
	return NULL;
}

/* What libcurl would make of a malformed URL is its own affair; these are the ones understood. */
static const char *url_defect(const char *url)
{
	char host[300];
	const char *at, *port = NULL;
	size_t len;

	if (strncmp(url, "http://", 7) == 0)
		at = url + 7;
	else if (strncmp(url, "https://", 8) == 0)
		at = url + 8;
	else
		return "does not begin with http:// or https://";
	for (const char *c = url; *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~')
			return "holds a character that must be percent-encoded in a URL";
		if (*c == '#')
			return "has a fragment (#), which is never sent";
	}
	len = strcspn(at, "/?");
	if (len >= sizeof(host))
		return "has a host name that is too long";
	memcpy(host, at, len);
	host[len] = '\0';
	if (strchr(host, '@'))
		return "holds a user or password, which would end up in logs; use a token file";
	for (char *c = host + len; c > host && c[-1] != ']'; c--) {
		if (c[-1] == ':') {
			port = c;
			c[-1] = '\0';
			break;
		}
	}
	if (port && port_defect(port, 1))
		return port_defect(port, 1);
	return host_defect(host);
}

static int set_text(const struct option_row *row, const char *text, struct options *options,
		    struct buf *why)
{
	const char *defect = text_defect(text);
	char **to = field(row, options), *copy;
	size_t len;

	if (defect)
		return refuse(why, text, defect);
	if (*text == '\0' && row->required) {
		buf_str(why, "may not be empty");
		return -EINVAL;
	}
	if (*text != '\0' && row->type == OPTIONS_TYPE_PATH && *text != '/')
		return refuse(why, text, "is not an absolute path");
	if (*text != '\0' && row->type == OPTIONS_TYPE_URL) {
		defect = url_defect(text);
		if (defect)
			return refuse(why, text, defect);
	}
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	/* Paths and paths of URLs are appended to; "//" is another path to some servers. */
	len = strlen(copy);
	if (row->type == OPTIONS_TYPE_PATH ||
	    (row->type == OPTIONS_TYPE_URL && !strchr(copy, '?'))) {
		while (len > 1 && copy[len - 1] == '/')
			copy[--len] = '\0';
	}
	free(*to);
	*to = copy;
	return 0;
}

/* The form only; whoever opens the socket parses it again, for itself. */
static int set_listen(const struct option_row *row, const char *text, struct options *options,
		      struct buf *why)
{
	const char *colon = strrchr(text, ':');
	unsigned char address[sizeof(struct in6_addr)];
	char host[INET6_ADDRSTRLEN + 2];
	int valid = 0;
	size_t len;

	if (!colon || port_defect(colon + 1, 0))
		return refuse(why, text, port_defect("", 0));
	len = (size_t)(colon - text);
	if (len < sizeof(host)) {
		memcpy(host, text, len);
		host[len] = '\0';
		if (len == 0) {
			valid = 1; /* every address */
		} else if (len > 2 && host[0] == '[' && host[len - 1] == ']') {
			host[len - 1] = '\0';
			valid = inet_pton(AF_INET6, host + 1, address);
		} else {
			valid = inet_pton(AF_INET, host, address);
		}
	}
	if (valid != 1)
		return refuse(
			why, text,
			"has no IP address before the port, as 127.0.0.1:9917 or [::1]:9917 has");
	return set_text(row, text, options, why);
}

static int set_choice(const struct option_row *row, const char *text, struct options *options,
		      struct buf *why)
{
	for (int i = 0; row->choices[i]; i++) {
		if (strcmp(text, row->choices[i]) == 0) {
			memcpy(field(row, options), &i, sizeof(i));
			return 0;
		}
	}
	options_value_quote(text, why);
	buf_str(why, " is none of ");
	for (int i = 0; row->choices[i]; i++)
		buf_printf(why, "%s%s", i > 0 ? ", " : "", row->choices[i]);
	return -EINVAL;
}

static int set_bool(const struct option_row *row, const char *text, struct options *options,
		    struct buf *why)
{
	bool value = strcmp(text, "true") == 0;

	if (!value && strcmp(text, "false") != 0)
		return refuse(why, text, "is neither true nor false");
	memcpy(field(row, options), &value, sizeof(value));
	return 0;
}

static int check_range(const struct option_row *row, const char *text, uint64_t value,
		       struct buf *why)
{
	if (value >= (uint64_t)row->min && value <= (uint64_t)row->max)
		return 0;
	options_value_quote(text, why);
	buf_str(why, " is out of range: ");
	options_value_write_range(row, why);
	return -EINVAL;
}

static int set_number(const struct option_row *row, const char *text, struct options *options,
		      struct buf *why)
{
	uint64_t value = UINT64_MAX;
	int err = parse_u64(text, &value);

	if (err == -EINVAL)
		return refuse(why, text, "is not a whole number");
	err = check_range(row, text, value, why);
	if (err < 0)
		return err;
	memcpy(field(row, options), &value, sizeof(value));
	return 0;
}

static int set_duration(const struct option_row *row, const char *text, struct options *options,
			struct buf *why)
{
	int64_t value = INT64_MAX;
	int err = parse_duration_ms(text, &value);

	if (err == -EINVAL)
		return refuse(
			why, text,
			"is not a duration: whole numbers with a unit, as in 500ms, 1s or 1m30s");
	err = check_range(row, text, (uint64_t)value, why);
	if (err < 0)
		return err;
	memcpy(field(row, options), &value, sizeof(value));
	return 0;
}

/* "25%" or "12.5%", to hundredths of a percent. */
static int parse_percent(const char *text, uint64_t *ret_hundredths)
{
	size_t len = strlen(text), point = strcspn(text, ".");
	char whole[12], part[3] = "00";
	uint64_t high, low;

	if (len < 2 || text[len - 1] != '%')
		return -EINVAL;
	len--;
	if (point > len)
		point = len;
	if (point >= sizeof(whole))
		return -ERANGE;
	memcpy(whole, text, point);
	whole[point] = '\0';
	if (point < len) {
		size_t digits = len - point - 1;

		if (digits < 1 || digits > 2)
			return -EINVAL;
		memcpy(part, text + point + 1, digits);
	}
	if (parse_u64(whole, &high) < 0 || parse_u64(part, &low) < 0)
		return -EINVAL;
	*ret_hundredths = high * PERCENT_SCALE + low;
	return 0;
}

static int set_ratio(const struct option_row *row, const char *text, struct options *options,
		     struct buf *why)
{
	uint64_t hundredths = UINT64_MAX;
	int err = parse_percent(text, &hundredths);
	double ratio;

	if (err == -EINVAL)
		return refuse(why, text, "is not a percentage, as in 25% or 12.5%");
	err = check_range(row, text, hundredths, why);
	if (err < 0)
		return err;
	ratio = (double)hundredths / (100 * PERCENT_SCALE);
	memcpy(field(row, options), &ratio, sizeof(ratio));
	return 0;
}

int options_value_set(const struct option_row *row, const char *text, struct options *options,
		      struct buf *why)
{
	switch (row->type) {
	case OPTIONS_TYPE_TEXT:
	case OPTIONS_TYPE_PATH:
	case OPTIONS_TYPE_FILE:
	case OPTIONS_TYPE_URL:
		return set_text(row, text, options, why);
	case OPTIONS_TYPE_LISTEN:
		return set_listen(row, text, options, why);
	case OPTIONS_TYPE_CHOICE:
		return set_choice(row, text, options, why);
	case OPTIONS_TYPE_BOOL:
		return set_bool(row, text, options, why);
	case OPTIONS_TYPE_NUMBER:
		return set_number(row, text, options, why);
	case OPTIONS_TYPE_DURATION:
		return set_duration(row, text, options, why);
	case OPTIONS_TYPE_RATIO:
		return set_ratio(row, text, options, why);
	case OPTIONS_TYPE_ACTION:
		break;
	}
	buf_str(why, "takes no value");
	return -EINVAL;
}

static bool is_text(const struct option_row *row)
{
	return row->type == OPTIONS_TYPE_TEXT || row->type == OPTIONS_TYPE_PATH ||
	       row->type == OPTIONS_TYPE_FILE || row->type == OPTIONS_TYPE_URL ||
	       row->type == OPTIONS_TYPE_LISTEN;
}

void options_value_free(const struct option_row *row, struct options *options)
{
	if (is_text(row)) {
		char **text = field(row, options);

		free(*text);
		*text = NULL;
	}
}

static void write_duration(struct buf *out, uint64_t ms)
{
	if (ms > 0 && ms % 3600000 == 0)
		buf_printf(out, "%luh", ms / 3600000);
	else if (ms > 0 && ms % 60000 == 0)
		buf_printf(out, "%lum", ms / 60000);
	else if (ms % 1000 == 0)
		buf_printf(out, "%lus", ms / 1000);
	else
		buf_printf(out, "%lums", ms);
}

static void write_percent(struct buf *out, uint64_t hundredths)
{
	buf_printf(out, "%lu", hundredths / PERCENT_SCALE);
	if (hundredths % PERCENT_SCALE > 0) {
		buf_printf(out, ".%lu", hundredths % PERCENT_SCALE / 10);
		if (hundredths % 10 > 0)
			buf_printf(out, "%lu", hundredths % 10);
	}
	buf_char(out, '%');
}

static void write_scalar(const struct option_row *row, uint64_t value, struct buf *out)
{
	if (row->type == OPTIONS_TYPE_DURATION)
		write_duration(out, value);
	else if (row->type == OPTIONS_TYPE_RATIO)
		write_percent(out, value);
	else
		buf_u64(out, value);
}

void options_value_write_range(const struct option_row *row, struct buf *out)
{
	if (row->max == 0)
		return;
	write_scalar(row, (uint64_t)row->min, out);
	buf_str(out, " to ");
	write_scalar(row, (uint64_t)row->max, out);
}

void options_value_write(const struct option_row *row, const struct options *options,
			 struct buf *out)
{
	const void *at = field_const(row, options);

	if (is_text(row)) {
		const char *text = *(char *const *)at;
		clean_free char *shown = NULL;
		const char *query = row->type == OPTIONS_TYPE_URL ? strchr(text, '?') : NULL;

		shown = strndup(text, query ? (size_t)(query - text) : strlen(text));
		buf_printable(out, shown ? shown : "");
		buf_str(out, query ? "?..." : "");
	} else if (row->type == OPTIONS_TYPE_CHOICE) {
		buf_str(out, row->choices[*(const int *)at]);
	} else if (row->type == OPTIONS_TYPE_BOOL) {
		buf_str(out, *(const bool *)at ? "true" : "false");
	} else if (row->type == OPTIONS_TYPE_RATIO) {
		write_percent(out, (uint64_t)(*(const double *)at * (100 * PERCENT_SCALE) + 0.5));
	} else if (row->type != OPTIONS_TYPE_ACTION) {
		uint64_t value;

		memcpy(&value, at, sizeof(value));
		write_scalar(row, value, out);
	}
}
