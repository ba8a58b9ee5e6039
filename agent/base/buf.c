// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_FIRST 256

void buf_init(struct buf *buf, size_t max)
{
	*buf = (struct buf){ .max = max };
}

void buf_done(struct buf *buf)
{
	if (!buf)
		return;
	free(buf->data);
	*buf = (struct buf){ .max = buf->max };
}

void buf_reset(struct buf *buf)
{
	buf->len = 0;
	buf->err = 0;
	if (buf->data)
		buf->data[0] = '\0';
}

int buf_reserve(struct buf *buf, size_t extra)
{
	size_t need, size;
	char *data;

	if (buf->err)
		return buf->err;
	if (__builtin_add_overflow(buf->len, extra, &need) || need > SIZE_MAX - 1 ||
	    (buf->max > 0 && need > buf->max)) {
		buf->err = -EFBIG;
		return buf->err;
	}
	need++;
	if (need <= buf->size)
		return 0;
	size = buf->size > 0 ? buf->size : BUF_FIRST;
	while (size < need)
		size = size > SIZE_MAX / 2 ? need : size * 2;
	data = realloc(buf->data, size);
	if (!data) {
		buf->err = -ENOMEM;
		return buf->err;
	}
	buf->data = data;
	buf->size = size;
	return 0;
}

void buf_add(struct buf *buf, const void *data, size_t len)
{
	if (buf_reserve(buf, len) < 0)
		return;
	if (len > 0) /* memcpy() from NULL is undefined even then */
		memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

void buf_str(struct buf *buf, const char *str)
{
	buf_add(buf, str, strlen(str));
}

void buf_char(struct buf *buf, char c)
{
	buf_add(buf, &c, 1);
}

void buf_u64(struct buf *buf, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	buf_add(buf, digits + at, sizeof(digits) - at);
}

void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
{
	va_list again;
	size_t room;
	int len;

	if (buf_reserve(buf, 0) < 0)
		return;
	va_copy(again, args);
	/* Memory grows by doubling, so there may be more of it than the cap allows to use. */
	room = (buf->max > 0 && buf->max < buf->size ? buf->max + 1 : buf->size) - buf->len;
	len = vsnprintf(buf->data + buf->len, room, fmt, args);
	if (len < 0) {
		buf->err = -EINVAL;
		buf->data[buf->len] = '\0';
	} else if ((size_t)len < room) {
		buf->len += (size_t)len;
	} else if (buf_reserve(buf, (size_t)len) == 0) {
		vsnprintf(buf->data + buf->len, (size_t)len + 1, fmt, again);
		buf->len += (size_t)len;
	} else {
		buf->data[buf->len] = '\0';
	}
	va_end(again);
}

void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(buf, fmt, args);
	va_end(args);
}

size_t utf8_sequence(const char *str, size_t len)
{
	const unsigned char *s = (const unsigned char *)str;
	unsigned char low = 0x80, high = 0xbf;
	size_t need;

	if (len == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		need = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		need = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		need = 4;
	else
		return 0;
	/* The second byte's range shuts out overlong forms, surrogates and > U+10FFFF. */
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (len < need || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < need; i++) {
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	}
	return need;
}

#define REPLACEMENT "\xef\xbf\xbd"

void buf_utf8(struct buf *buf, const char *str)
{
	size_t left = strlen(str);

	while (left > 0) {
		size_t n = utf8_sequence(str, left);

		if (n == 0) {
			buf_str(buf, REPLACEMENT);
			n = 1;
		} else {
			buf_add(buf, str, n);
		}
		str += n;
		left -= n;
	}
}

/*
 * Code points of two and more bytes that steer a display instead of standing on it: C1 controls
 * (U+009B is CSI to some terminals), line and paragraph separators (a line break to some log
 * readers) and the marks that turn the direction of text around. 0: none of them.
 */
static unsigned int steering_mark(const char *str, size_t n)
{
	const unsigned char *s = (const unsigned char *)str;
	unsigned int c;

	if (n == 2) {
		c = (s[0] & 0x1fU) << 6 | (s[1] & 0x3fU);
		return c < 0xa0 || c == 0x61c ? c : 0;
	}
	if (n != 3)
		return 0;
	c = (s[0] & 0x0fU) << 12 | (s[1] & 0x3fU) << 6 | (s[2] & 0x3fU);
	return c == 0x200e || c == 0x200f || (c >= 0x2028 && c <= 0x202e) ||
			       (c >= 0x2066 && c <= 0x2069) ?
		       c :
		       0;
}

void buf_json_string(struct buf *buf, const char *str)
{
	size_t left = strlen(str);

	buf_char(buf, '"');
	while (left > 0) {
		size_t n = utf8_sequence(str, left);
		unsigned char c = (unsigned char)*str;

		if (n == 0) {
			buf_str(buf, REPLACEMENT);
			n = 1;
		} else if (c == '"' || c == '\\') {
			buf_char(buf, '\\');
			buf_char(buf, (char)c);
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(buf, "\\u%04x", c);
		} else if (steering_mark(str, n) > 0) {
			buf_printf(buf, "\\u%04x", steering_mark(str, n));
		} else {
			buf_add(buf, str, n);
		}
		str += n;
		left -= n;
	}
	buf_char(buf, '"');
}

void buf_printable(struct buf *buf, const char *str)
{
	size_t left = strlen(str);

	while (left > 0) {
		size_t n = utf8_sequence(str, left);
		unsigned char c = (unsigned char)*str;

		if (n == 0) {
			buf_str(buf, REPLACEMENT);
			n = 1;
		} else if (c < 0x20 || c == 0x7f) {
			buf_printf(buf, "\\x%02x", c);
		} else if (steering_mark(str, n) > 0) {
			buf_printf(buf, "\\u%04x", steering_mark(str, n));
		} else {
			buf_add(buf, str, n);
		}
		str += n;
		left -= n;
	}
}
