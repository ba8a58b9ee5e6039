/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Strict parsing of small values: whole string or an error, never a prefix.
 * Refuses: locale, leading white space, signs where none belong.
 */
#ifndef PIDWARDEN_BASE_PARSE_H
#define PIDWARDEN_BASE_PARSE_H

#include <stddef.h>
#include <stdint.h>

/* Decimal digits only. -EINVAL, or -ERANGE past UINT64_MAX. */
int parse_u64(const char *str, uint64_t *ret_value);
/* "1s", "500ms", "2m", "1h" (also "1m30s"). -EINVAL, or -ERANGE past a hundred years. */
int parse_duration_ms(const char *str, int64_t *ret_ms);
/* RFC 3339 as Kubernetes writes it ("2026-11-20T22:09:44Z", fraction and offset allowed), to
 * milliseconds since the epoch. -EINVAL. */
int parse_rfc3339_ms(const char *str, int64_t *ret_wall_ms);

/*
 * Reads a small file whole into @data (NUL-terminated; at most @size - 1 bytes are kept).
 * Returns the number of bytes read, or -errno. @dirfd as for openat(2).
 */
int read_small_file(int dirfd, const char *path, char *data, size_t size);

#endif
