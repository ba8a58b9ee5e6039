// SPDX-License-Identifier: Apache-2.0
#include "base/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"

#define DURATION_MAX_MS (100LL * 366 * 24 * 3600 * 1000)

/* Digits at *at, moved past them. */
static int take_digits(const char **at, uint64_t *ret_value)
{
	const char *s = *at;
	uint64_t value = 0;

	if (*s < '0' || *s > '9')
		return -EINVAL;
	for (; *s >= '0' && *s <= '9'; s++) {
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value))
			return -ERANGE;
	}
	*at = s;
	*ret_value = value;
	return 0;
}

int parse_u64(const char *str, uint64_t *ret_value)
{
	uint64_t value;
	int err;

	err = take_digits(&str, &value);
	if (err < 0)
		return err;
	if (*str != '\0')
		return -EINVAL;
	*ret_value = value;
	return 0;
}

int parse_duration_ms(const char *str, int64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	uint64_t total = 0;

	if (*str == '\0')
		return -EINVAL;
	while (*str != '\0') {
		uint64_t value, ms = 0;
		int err = take_digits(&str, &value);

		if (err < 0)
			return err;
		for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
			size_t len = strlen(units[i].name);

			if (strncmp(str, units[i].name, len) == 0 &&
			    (str[len] == '\0' || (str[len] >= '0' && str[len] <= '9'))) {
				ms = units[i].ms;
				str += len;
				break;
			}
		}
		if (ms == 0)
			return -EINVAL;
		if (__builtin_mul_overflow(value, ms, &value) ||
		    __builtin_add_overflow(total, value, &total) || total > DURATION_MAX_MS)
			return -ERANGE;
	}
	*ret_ms = (int64_t)total;
	return 0;
}

int parse_rfc3339_ms(const char *str, int64_t *ret_wall_ms)
{
	uint64_t value;
	int64_t offset_s = 0, ms = 0;
	struct tm tm = { 0 };
	const char *rest;
	time_t t;

	rest = strptime(str, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest)
		return -EINVAL;
	if (*rest == '.') {
		int64_t scale = 100;

		rest++;
		if (*rest < '0' || *rest > '9')
			return -EINVAL;
		for (; *rest >= '0' && *rest <= '9'; rest++) {
			ms += (*rest - '0') * scale;
			scale /= 10;
		}
	}
	if (*rest == '+' || *rest == '-') {
		int sign = *rest == '-' ? -1 : 1;

		rest++;
		if (take_digits(&rest, &value) < 0 || value > 23 || *rest != ':')
			return -EINVAL;
		offset_s = (int64_t)value * 3600;
		rest++;
		if (take_digits(&rest, &value) < 0 || value > 59 || *rest != '\0')
			return -EINVAL;
		offset_s = sign * (offset_s + (int64_t)value * 60);
	} else if (strcmp(rest, "Z") != 0) {
		return -EINVAL;
	}
	t = timegm(&tm);
	*ret_wall_ms = ((int64_t)t - offset_s) * 1000 + ms;
	return 0;
}

int read_small_file(int dirfd, const char *path, char *data, size_t size)
{
	clean_close int fd = -1;
	size_t len = 0;

	fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		return -errno;
	while (len < size - 1) {
		ssize_t n = read(fd, data + len, size - 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	data[len] = '\0';
	return (int)len;
}
