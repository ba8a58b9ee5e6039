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

/* Exactly @n digits at *at, then @end unless that is NUL; moved past both. */
static int take_field(const char **at, size_t n, char end, int *ret_value)
{
	const char *s = *at;
	int value = 0;

	for (; n > 0; n--, s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		value = value * 10 + (*s - '0');
	}
	if (end != '\0' && *s++ != end)
		return -EINVAL;
	*at = s;
	*ret_value = value;
	return 0;
}

static int month_days(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };

	if (month == 2 && year % 4 == 0 && (year % 100 != 0 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

/* Not strptime(3): that skips white space, takes short fields and the 31st of February. */
int parse_rfc3339_ms(const char *str, int64_t *ret_wall_ms)
{
	int year, month, day, hour, minute, second;
	int64_t offset_s = 0, ms = 0;
	struct tm tm;

	if (take_field(&str, 4, '-', &year) < 0 || take_field(&str, 2, '-', &month) < 0 ||
	    take_field(&str, 2, 'T', &day) < 0 || take_field(&str, 2, ':', &hour) < 0 ||
	    take_field(&str, 2, ':', &minute) < 0 || take_field(&str, 2, '\0', &second) < 0)
		return -EINVAL;
	/* Second 60 is a leap second. */
	if (month < 1 || month > 12 || day < 1 || day > month_days(year, month) || hour > 23 ||
	    minute > 59 || second > 60)
		return -EINVAL;
	if (*str == '.') {
		int64_t scale = 100;

		str++;
		if (*str < '0' || *str > '9')
			return -EINVAL;
		for (; *str >= '0' && *str <= '9'; str++) {
			ms += (*str - '0') * scale;
			scale /= 10;
		}
	}
	if (*str == '+' || *str == '-') {
		int sign = *str == '-' ? -1 : 1, hours, minutes;

		str++;
		if (take_field(&str, 2, ':', &hours) < 0 || hours > 23 ||
		    take_field(&str, 2, '\0', &minutes) < 0 || minutes > 59 || *str != '\0')
			return -EINVAL;
		offset_s = sign * (hours * 3600 + minutes * 60);
	} else if (strcmp(str, "Z") != 0) {
		return -EINVAL;
	}
	tm = (struct tm){
		.tm_year = year - 1900,
		.tm_mon = month - 1,
		.tm_mday = day,
		.tm_hour = hour,
		.tm_min = minute,
		.tm_sec = second,
	};
	*ret_wall_ms = ((int64_t)timegm(&tm) - offset_s) * 1000 + ms;
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
