// SPDX-License-Identifier: Apache-2.0
/* Strict parsing by table: what is taken, what it is worth, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"

#define UNTOUCHED 4711

static void test_u64(void **state)
{
	static const struct {
		const char *in;
		int err;
		uint64_t value;
	} rows[] = {
		{ "0", 0, 0 },
		{ "007", 0, 7 },
		{ "18446744073709551615", 0, UINT64_MAX },
		{ "18446744073709551616", -ERANGE, UNTOUCHED },
		{ "99999999999999999999999999", -ERANGE, UNTOUCHED },
		{ "", -EINVAL, UNTOUCHED },
		{ " 1", -EINVAL, UNTOUCHED },
		{ "1 ", -EINVAL, UNTOUCHED },
		{ "1\n", -EINVAL, UNTOUCHED },
		{ "+1", -EINVAL, UNTOUCHED },
		{ "-1", -EINVAL, UNTOUCHED },
		{ "0x10", -EINVAL, UNTOUCHED },
		{ "1e3", -EINVAL, UNTOUCHED },
		{ "max", -EINVAL, UNTOUCHED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = UNTOUCHED;

		assert_int_equal(parse_u64(rows[i].in, &value), rows[i].err);
		assert_true(value == rows[i].value);
	}
}

static void test_duration(void **state)
{
	static const struct {
		const char *in;
		int err;
		int64_t ms;
	} rows[] = {
		{ "0s", 0, 0 },
		{ "1s", 0, 1000 },
		{ "500ms", 0, 500 },
		{ "2m", 0, 120000 },
		{ "1h", 0, 3600000 },
		{ "1m30s", 0, 90000 },
		{ "1h2m3s4ms", 0, 3723004 },
		{ "876000h", 0, 3153600000000 },
		{ "18446744073709551615h", -ERANGE, UNTOUCHED },
		{ "99999999999999999999s", -ERANGE, UNTOUCHED },
		{ "900000h", -ERANGE, UNTOUCHED },
		/* Each part in range, their sum beyond it or beyond 64 bits. */
		{ "800000h800000h", -ERANGE, UNTOUCHED },
		{ "", -EINVAL, UNTOUCHED },
		{ "5", -EINVAL, UNTOUCHED },
		{ "s", -EINVAL, UNTOUCHED },
		{ "1d", -EINVAL, UNTOUCHED },
		{ "1.5s", -EINVAL, UNTOUCHED },
		{ "1s ", -EINVAL, UNTOUCHED },
		{ " 1s", -EINVAL, UNTOUCHED },
		{ "-1s", -EINVAL, UNTOUCHED },
		{ "1S", -EINVAL, UNTOUCHED },
		{ "1sec", -EINVAL, UNTOUCHED },
		{ "1m30", -EINVAL, UNTOUCHED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ms = UNTOUCHED;

		assert_int_equal(parse_duration_ms(rows[i].in, &ms), rows[i].err);
		assert_true(ms == rows[i].ms);
	}
}

/* The figures are from date(1): date -u -d '2026-11-20T22:09:44Z' +%s. */
static void test_rfc3339(void **state)
{
	static const struct {
		const char *in;
		int err;
		int64_t ms;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0, 0 },
		{ "1969-12-31T23:59:59.500Z", 0, -500 },
		{ "2026-11-20T22:09:44Z", 0, 1795212584000 },
		{ "2026-11-20T22:09:44.123456789Z", 0, 1795212584123 },
		{ "2026-11-20T22:09:44.5Z", 0, 1795212584500 },
		{ "2026-11-20T23:39:44+01:30", 0, 1795212584000 },
		{ "2026-11-20T14:09:44-08:00", 0, 1795212584000 },
		{ "2024-02-29T12:00:00Z", 0, 1709208000000 },
		{ "2000-02-29T00:00:00Z", 0, 951782400000 },
		{ "2016-12-31T23:59:60Z", 0, 1483228800000 },
		{ "9999-12-31T23:59:59Z", 0, 253402300799000 },
		{ "0001-01-01T00:00:00Z", 0, -62135596800000 }, /* Go's zero time */
		{ "2023-02-29T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "1900-02-29T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-04-31T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-00-01T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-13-01T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-01-00T12:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20T24:00:00Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:60:00Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:61Z", -EINVAL, UNTOUCHED },
		{ " 2026-11-20T22:09:44Z", -EINVAL, UNTOUCHED },
		{ "2026- 1-20T22:09:44Z", -EINVAL, UNTOUCHED },
		{ "2026-1-2T2:9:4Z", -EINVAL, UNTOUCHED },
		{ "+2026-11-20T22:09:44Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44.Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44ZZ", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44+1:00", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44+01:00x", -EINVAL, UNTOUCHED },
		{ "2026-11-20T22:09:44+24:00", -EINVAL, UNTOUCHED },
		{ "2026-11-20 22:09:44Z", -EINVAL, UNTOUCHED },
		{ "2026-11-20", -EINVAL, UNTOUCHED },
		{ "null", -EINVAL, UNTOUCHED },
		{ "", -EINVAL, UNTOUCHED },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t ms = UNTOUCHED;

		assert_int_equal(parse_rfc3339_ms(rows[i].in, &ms), rows[i].err);
		assert_true(ms == rows[i].ms);
	}
}

static void test_read_small_file(void **state)
{
	char dir[] = "/tmp/test_parse.XXXXXX", path[64], data[8];
	FILE *file;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("0123456789", file);
	fclose(file);
	assert_int_equal(read_small_file(AT_FDCWD, path, data, sizeof(data)), 7);
	assert_string_equal(data, "0123456");
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read_small_file(fd, "f", data, 2), 1);
	assert_string_equal(data, "0");
	assert_int_equal(read_small_file(fd, "g", data, sizeof(data)), -ENOENT);
	close(fd);
	assert_int_equal(read_small_file(AT_FDCWD, dir, data, sizeof(data)), -EISDIR);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_u64),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_read_small_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
