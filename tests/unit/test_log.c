// SPDX-License-Identifier: Apache-2.0
/* One line an event, whatever the message holds: nobody forges a second one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/log.h"

static char got[8192];
static size_t got_len, got_lines;

static void keep(const char *line, size_t len, void *data)
{
	assert_ptr_equal(data, got);
	assert_true(len < sizeof(got));
	memcpy(got, line, len);
	got[len] = '\0';
	got_len = len;
	got_lines++;
}

static void check_one_line(void)
{
	assert_int_equal(got_lines, 1);
	assert_true(got_len <= PIPE_BUF);
	assert_int_equal(got[got_len - 1], '\n');
	for (size_t i = 0; i < got_len - 1; i++)
		assert_true((unsigned char)got[i] >= 0x20 && got[i] != 0x7f);
	got_lines = 0;
}

static void test_text(void **state)
{
	(void)state;
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_TEXT);
	log_warn("pod %s", "x\n2026-01-01T00:00:00.000Z error forged\x1b[2K");
	check_one_line();
	assert_non_null(
		strstr(got, "Z warn  pod x\\x0a2026-01-01T00:00:00.000Z error forged\\x1b[2K\n"));
	/* 2026-11-20T22:09:44.123Z */
	assert_int_equal(strcspn(got, " "), 24);
}

static void test_json(void **state)
{
	static const char hostile[] = "a\"},\n{\"level\":\"error\"\\ \xff \x1b \xc2\x9b";
	cJSON *json;

	(void)state;
	log_configure(LOG_LEVEL_INFO, LOG_FORMAT_JSON);
	log_error("%s", hostile);
	check_one_line();
	assert_null(strstr(got, "\xc2\x9b"));
	json = cJSON_ParseWithOpts(got, NULL, 0);
	assert_non_null(json);
	assert_int_equal(cJSON_GetArraySize(json), 3);
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "level")), "error");
	assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItem(json, "msg")),
			    "a\"},\n{\"level\":\"error\"\\ \xef\xbf\xbd \x1b \xc2\x9b");
	cJSON_Delete(json);
}

/* The longest message of the worst bytes is cut, not lost: losing it would hide its maker. */
static void test_long(void **state)
{
	static const char worst[] = { 'x', '\n', '\x1b', '\xff', '"' };
	char message[5000];

	(void)state;
	for (size_t i = 0; i < sizeof(worst); i++) {
		for (int format = LOG_FORMAT_TEXT; format <= LOG_FORMAT_JSON; format++) {
			memset(message, worst[i], sizeof(message) - 1);
			message[sizeof(message) - 1] = '\0';
			log_configure(LOG_LEVEL_INFO, (enum log_format)format);
			log_info("culprit: %s", message);
			check_one_line();
			assert_non_null(strstr(got, "culprit: "));
			assert_true(got_len > 1000);
		}
	}
}

static void test_level(void **state)
{
	(void)state;
	for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
		log_configure((enum log_level)level, LOG_FORMAT_TEXT);
		got_lines = 0;
		log_error("e");
		log_warn("w");
		log_info("i");
		log_debug("d");
		assert_int_equal(got_lines, level + 1);
		got_lines = 0;
	}
	assert_true(log_enabled(LOG_LEVEL_DEBUG));
}

/* "log_warn(...); return -errno;" is written everywhere. */
static void test_errno_survives(void **state)
{
	(void)state;
	errno = EXDEV;
	log_error("%s", strerror(EXDEV));
	assert_int_equal(errno, EXDEV);
	got_lines = 0;
}

static int use_sink(void **state)
{
	(void)state;
	log_set_sink(keep, got);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),	       cmocka_unit_test(test_json),
		cmocka_unit_test(test_long),	       cmocka_unit_test(test_level),
		cmocka_unit_test(test_errno_survives),
	};

	return cmocka_run_group_tests(tests, use_sink, NULL);
}
