// SPDX-License-Identifier: Apache-2.0
/* Growth, cap and sticky error; UTF-8 against an exhaustive decoder; hostile bytes by table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

static void test_growth(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	assert_null(buf.data);
	for (int i = 0; i < 10000; i++)
		buf_printf(&buf, "%d,", i % 10);
	assert_int_equal(buf.err, 0);
	assert_int_equal(buf.len, 20000);
	assert_int_equal(strlen(buf.data), 20000);
	for (size_t i = 0; i < buf.len; i += 2) {
		assert_int_equal(buf.data[i], '0' + (char)(i / 2 % 10));
		assert_int_equal(buf.data[i + 1], ',');
	}
	buf_reset(&buf);
	assert_int_equal(buf.len, 0);
	assert_string_equal(buf.data, "");
	buf_add(&buf, NULL, 0);
	buf_u64(&buf, 0);
	buf_char(&buf, ' ');
	buf_u64(&buf, UINT64_MAX);
	assert_string_equal(buf.data, "0 18446744073709551615");
	buf_done(&buf);
	buf_done(&buf);
	buf_done(NULL);
}

/* A cap of n takes n bytes and not one more, by whichever way they come. */
static void test_cap(void **state)
{
	(void)state;
	for (size_t max = 1; max < 600; max += 37) {
		struct buf buf;

		buf_init(&buf, max);
		for (size_t i = 0; i < max; i++)
			buf_char(&buf, 'x');
		assert_int_equal(buf.err, 0);
		buf_printf(&buf, "%s", "");
		assert_int_equal(buf.err, 0);
		buf_printf(&buf, "%d", 1);
		assert_int_equal(buf.err, -EFBIG);
		assert_int_equal(buf.len, max);
		assert_int_equal(strlen(buf.data), max);
		/* Sticky: nothing may be appended behind a gap. */
		buf_str(&buf, "");
		assert_int_equal(buf.err, -EFBIG);
		assert_int_equal(buf_reserve(&buf, 0), -EFBIG);
		buf_reset(&buf);
		buf_str(&buf, "y");
		assert_int_equal(buf.err, 0);
		assert_string_equal(buf.data, "y");
		buf_done(&buf);
	}
}

static void test_reserve_overflow(void **state)
{
	struct buf buf;

	(void)state;
	buf_init(&buf, 0);
	buf_str(&buf, "abc");
	assert_int_equal(buf_reserve(&buf, SIZE_MAX - 1), -EFBIG);
	assert_string_equal(buf.data, "abc");
	buf_done(&buf);
}

/* Encodes by the definition of UTF-8 (RFC 3629 §3), so that the table of ranges is not its judge. */
static size_t encode(uint32_t c, unsigned char *s)
{
	if (c < 0x80) {
		s[0] = (unsigned char)c;
		return 1;
	}
	if (c < 0x800) {
		s[0] = (unsigned char)(0xc0 | c >> 6);
		s[1] = (unsigned char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		s[0] = (unsigned char)(0xe0 | c >> 12);
		s[1] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
		s[2] = (unsigned char)(0x80 | (c & 0x3f));
		return 3;
	}
	s[0] = (unsigned char)(0xf0 | c >> 18);
	s[1] = (unsigned char)(0x80 | (c >> 12 & 0x3f));
	s[2] = (unsigned char)(0x80 | (c >> 6 & 0x3f));
	s[3] = (unsigned char)(0x80 | (c & 0x3f));
	return 4;
}

static void test_utf8_every_code_point(void **state)
{
	(void)state;
	for (uint32_t c = 0; c < 0x140000; c++) {
		bool valid = c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
		unsigned char s[4];
		size_t len = encode(c, s);

		assert_int_equal(utf8_sequence((char *)s, len), valid ? len : 0);
		for (size_t cut = 0; cut < len; cut++)
			assert_int_equal(utf8_sequence((char *)s, cut), 0);
	}
}

/* Of all pairs and, with these, all triples of bytes exactly as many are valid as there are code
 * points: overlong forms would be extra. */
static void test_utf8_counts(void **state)
{
	size_t n[4] = { 0 };

	(void)state;
	for (unsigned int i = 0; i < 1U << 24; i++) {
		char s[3] = { (char)(i >> 16), (char)(i >> 8), (char)i };

		n[utf8_sequence(s, 3)]++;
	}
	assert_int_equal(n[1], 0x80U << 16);
	assert_int_equal(n[2], (0x800U - 0x80U) << 8);
	assert_int_equal(n[3], 0x10000U - 0x800U - 0x800U /* surrogates */);
}

static const struct {
	const char *in, *utf8, *json, *printable;
} texts[] = {
	{ "", "", "\"\"", "" },
	{ "plain", "plain", "\"plain\"", "plain" },
	{ "a\nb", "a\nb", "\"a\\u000ab\"", "a\\x0ab" },
	{ "\x1b[31m", "\x1b[31m", "\"\\u001b[31m\"", "\\x1b[31m" },
	{ "\x7f\r\t", "\x7f\r\t", "\"\\u007f\\u000d\\u0009\"", "\\x7f\\x0d\\x09" },
	{ "q\"b\\s", "q\"b\\s", "\"q\\\"b\\\\s\"", "q\"b\\s" },
	{ "Gr\xc3\xbc\xc3\x9f", "Gr\xc3\xbc\xc3\x9f", "\"Gr\xc3\xbc\xc3\x9f\"",
	  "Gr\xc3\xbc\xc3\x9f" },
	{ "\xf0\x9f\x90\xa7", "\xf0\x9f\x90\xa7", "\"\xf0\x9f\x90\xa7\"", "\xf0\x9f\x90\xa7" },
	/* U+009B, the one-character CSI, and U+0085, a line break to some */
	{ "\xc2\x9b"
	  "2J\xc2\x85x",
	  "\xc2\x9b"
	  "2J\xc2\x85x",
	  "\"\\u009b2J\\u0085x\"", "\\u009b2J\\u0085x" },
	/* U+2028 and a direction mark; U+2027 and U+202F stand */
	{ "\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6", "\xe2\x80\xa8\xe2\x80\xae\xe2\x81\xa6",
	  "\"\\u2028\\u202e\\u2066\"", "\\u2028\\u202e\\u2066" },
	{ "\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf", "\"\xe2\x80\xa7\xe2\x80\xaf\"",
	  "\xe2\x80\xa7\xe2\x80\xaf" },
	/* Not UTF-8: stray, overlong, surrogate, cut off at the end */
	{ "\xff\x80z", "\xef\xbf\xbd\xef\xbf\xbdz", "\"\xef\xbf\xbd\xef\xbf\xbdz\"",
	  "\xef\xbf\xbd\xef\xbf\xbdz" },
	{ "\xc0\x9b", "\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\"",
	  "\xef\xbf\xbd\xef\xbf\xbd" },
	{ "\xc0\x8a", "\xef\xbf\xbd\xef\xbf\xbd", "\"\xef\xbf\xbd\xef\xbf\xbd\"",
	  "\xef\xbf\xbd\xef\xbf\xbd" },
	{ "a\xe2\x82", "a\xef\xbf\xbd\xef\xbf\xbd", "\"a\xef\xbf\xbd\xef\xbf\xbd\"",
	  "a\xef\xbf\xbd\xef\xbf\xbd" },
};

static void test_texts(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct buf buf;

		buf_init(&buf, 0);
		buf_str(&buf, "<");
		buf_utf8(&buf, texts[i].in);
		assert_string_equal(buf.data + 1, texts[i].utf8);
		buf_reset(&buf);
		buf_json_string(&buf, texts[i].in);
		assert_string_equal(buf.data, texts[i].json);
		buf_reset(&buf);
		buf_str(&buf, "<");
		buf_printable(&buf, texts[i].in);
		assert_string_equal(buf.data + 1, texts[i].printable);
		buf_done(&buf);
	}
}

/* Whatever the bytes: valid UTF-8 comes out, and no control character. */
static void test_random_bytes(void **state)
{
	(void)state;
	srand(1);
	for (int round = 0; round < 20000; round++) {
		char in[24];
		size_t len = (size_t)rand() % sizeof(in), left;
		struct buf buf;
		const char *at;

		for (size_t i = 0; i < len; i++)
			in[i] = (char)(1 + rand() % 255);
		in[len] = '\0';
		buf_init(&buf, 0);
		buf_printable(&buf, in);
		buf_json_string(&buf, in);
		for (at = buf.data, left = buf.len; left > 0;) {
			size_t n = utf8_sequence(at, left);

			assert_true(n > 0);
			assert_true((unsigned char)*at >= 0x20 && *at != 0x7f);
			at += n;
			left -= n;
		}
		buf_done(&buf);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growth),
		cmocka_unit_test(test_cap),
		cmocka_unit_test(test_reserve_overflow),
		cmocka_unit_test(test_utf8_every_code_point),
		cmocka_unit_test(test_utf8_counts),
		cmocka_unit_test(test_texts),
		cmocka_unit_test(test_random_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
