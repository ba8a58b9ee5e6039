/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A text buffer that grows up to a cap and remembers that it failed, so that a renderer
 * checks once at its end and not after every append.
 * Refuses: knowledge of any format but bytes and UTF-8.
 */
#ifndef PIDWARDEN_BASE_BUF_H
#define PIDWARDEN_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* always NUL-terminated once anything was appended; NULL before */
	size_t len; /* bytes, without the NUL */
	size_t size; /* bytes allocated */
	size_t max; /* bytes, 0: no cap */
	int err; /* 0, -ENOMEM, or -EFBIG when the cap was hit; sticky until buf_reset() */
};

void buf_init(struct buf *buf, size_t max);
void buf_done(struct buf *buf);
/* Forgets the content and the error, keeps the memory for the next round. */
void buf_reset(struct buf *buf);

/* Make room for @extra bytes beyond len. 0 or a negative errno (also kept in buf->err). */
int buf_reserve(struct buf *buf, size_t extra);
void buf_add(struct buf *buf, const void *data, size_t len);
void buf_str(struct buf *buf, const char *str);
void buf_char(struct buf *buf, char c);
void buf_u64(struct buf *buf, uint64_t value);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *buf, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/*
 * Length in bytes (1..4) of the valid UTF-8 sequence at @s with @len bytes left, 0 when the
 * bytes are not UTF-8 (overlong forms, surrogates and code points above U+10FFFF included).
 */
size_t utf8_sequence(const char *s, size_t len);
/* Appends @str as UTF-8: every byte that belongs to no valid sequence becomes U+FFFD. */
void buf_utf8(struct buf *buf, const char *str);
/* Appends a JSON string with its quotes; what buf_printable() makes harmless is escaped here too, so
 * that JSON in a terminal or log is as harmless; bad UTF-8 is replaced. */
void buf_json_string(struct buf *buf, const char *str);
/* Appends text that may come from a pod so that a terminal or log shows it harmlessly: controls
 * (ESC, newline) become \xNN, C1 controls, line separators and direction marks \uNNNN, bad UTF-8
 * U+FFFD. */
void buf_printable(struct buf *buf, const char *str);

#endif
