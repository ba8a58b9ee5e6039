// SPDX-License-Identifier: Apache-2.0
/* Everything that YAML can be and a configuration file must not be, refused in bounded time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "options_yaml.h"

static char path[] = "/tmp/test_options_yaml.XXXXXX";

static int make_file(void **state)
{
	int fd = mkstemp(path);

	(void)state;
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static int remove_file(void **state)
{
	(void)state;
	return unlink(path);
}

static void write_bytes(const void *data, size_t len)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, len, file), len);
	fclose(file);
}

/* Keeps what it is given as "key=value@line," with a ' for quoted values; refuses the key "bad". */
static int keep(struct options_yaml_item *item, void *data, struct buf *why)
{
	struct buf *items = data;

	if (strcmp(item->key, "bad") == 0) {
		item->blame_key = strcmp(item->value, "key") == 0;
		buf_str(why, "refused");
		return -EINVAL;
	}
	buf_printf(items, "%s=%s%s@%zu,", item->key, item->quoted ? "'" : "", item->value,
		   item->line);
	return 0;
}

static int read_back(struct buf *items, struct buf *message)
{
	buf_init(items, 0);
	buf_init(message, 0);
	buf_str(items, "");
	buf_str(message, "");
	return options_yaml_read(path, keep, items, message);
}

static void check(const char *in, size_t len, const char *want_items, const char *want_message)
{
	struct buf items, message;
	const char *got;
	int err;

	write_bytes(in, len);
	err = read_back(&items, &message);
	got = message.data;
	if (message.len > 0) {
		assert_memory_equal(got, path, strlen(path));
		got += strlen(path);
	}
	if (want_message) {
		assert_string_equal(got, want_message);
		assert_int_equal(err, -EINVAL);
	} else {
		assert_string_equal(got, "");
		assert_int_equal(err, 0);
	}
	if (want_items)
		assert_string_equal(items.data, want_items);
	buf_done(&items);
	buf_done(&message);
}

static const struct {
	const char *in, *items, *message;
} rows[] = {
	{ "", "", NULL },
	{ "# nothing\n", "", NULL },
	{ "---\n", "", NULL },
	{ "---\n...\n", "", NULL },
	{ "{}\n", "", NULL },
	{ "a: 1\nb: 'x y'\n\nc: \"\\u00fc\"\n", "a=1@1,b='x y@2,c='\xc3\xbc@4,", NULL },
	{ "a: 1 # why\n", "a=1@1,", NULL },
	{ "a: >\n  folded\n  text\nb: 1\n", "a='folded text\n@1,b=1@4,", NULL },
	{ "\xef\xbb\xbf"
	  "a: 1\n",
	  "a=1@1,", NULL },
	{ "a: 1\r\nb: 2\r\n", "a=1@1,b=2@2,", NULL },
	{ "a:\n", "a=@1,", NULL },
	/* the place of each mistake */
	{ "a: 1\nbad: key\n", "a=1@1,", ":2:1: refused" },
	{ "a: 1\nbad:   x\n", "a=1@1,", ":2:8: refused" },
	{ "a: 1\n b: 2\n", NULL, ":2:3: mapping values are not allowed in this context" },
	{ "a: 1\nb\n", NULL, ":3:1: could not find expected ':'" },
	{ "a: [1\n", NULL, ":1:4: needs one value, not a list" },
	{ "a: 'x\n", NULL, ":2:1: found unexpected end of stream" },
	{ "\ta: 1\n", NULL, ":1:1: found character that cannot start any token" },
	/* shapes */
	{ "text\n", "", ":1:1: must be a map: lines of \"key: value\"" },
	{ "\"\"\n", "", ":1:1: must be a map: lines of \"key: value\"" },
	{ "- a\n", "", ":1:1: must be a map: lines of \"key: value\"" },
	{ "a: 1\n---\nb: 2\n", "a=1@1,", ":2:1: a second document begins here" },
	{ "? [a]\n: 1\n", "", ":1:3: a key must be the name of an option" },
	{ "a: {b: c}\n", "", ":1:4: needs one value, not a map" },
	/* anchors, aliases, tags, merge keys */
	{ "a: &x 1\nb: *x\n", "", ":1:4: anchors (&) are not allowed here" },
	{ "&x a: 1\n", "", ":1:1: anchors (&) are not allowed here" },
	{ "&x\na: 1\n", "", ":1:1: anchors (&) are not allowed here" },
	{ "a: *x\n", "", ":1:4: aliases (*) are not allowed here" },
	{ "*x : 1\n", "", ":1:1: aliases (*) are not allowed here" },
	{ "*x\n", "", ":1:1: must be a map: lines of \"key: value\"" },
	{ "<<: *x\n", "", ":1:5: aliases (*) are not allowed here" },
	{ "a: !!int 1\n", "", ":1:4: tags (!) are not allowed here" },
	{ "!!map\na: 1\n", "", ":1:1: tags (!) are not allowed here" },
	{ "!!str a: 1\n", "", ":1:1: tags (!) are not allowed here" },
	{ "a: \"x\\0y\"\n", "", ":1:4: holds a NUL character" },
	{ "\"a\\0\": 1\n", "", ":1:1: holds a NUL character" },
	/* bytes */
	{ "a: 1\nb: \xff\n", NULL, ":2:4: invalid leading UTF-8 octet" },
	{ "a: 1\nb: \x1b[2J\n", NULL, ":2:4: control characters are not allowed" },
	{ "\xff\xfe"
	  "a",
	  NULL, ":1:1: invalid leading UTF-8 octet" },
	{ "\x7f"
	  "ELF\x02\x01",
	  NULL, ":1:1: control characters are not allowed" },
};

static void test_rows(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		check(rows[i].in, strlen(rows[i].in), rows[i].items, rows[i].message);
}

static void test_nul_byte(void **state)
{
	static const char in[] = "a: 1\nb: x\0y\n";

	(void)state;
	check(in, sizeof(in) - 1, NULL, ":2:5: control characters are not allowed");
}

/* Refused, whatever for, without taking time or stack for it. */
static void check_refused(const void *data, size_t len)
{
	int64_t before = clock_mono_ms();
	struct buf items, message;

	write_bytes(data, len);
	assert_int_equal(read_back(&items, &message), -EINVAL);
	assert_memory_equal(message.data, path, strlen(path));
	assert_true(message.len < strlen(path) + 200);
	/* 65 KiB of the worst take 60 ms with sanitizers; ten times that for a busy machine. */
	assert_true(clock_mono_ms() - before < 1000);
	buf_done(&items);
	buf_done(&message);
}

static void test_deep(void **state)
{
	static const char *const units[] = { "[", "{", "- ", "? ", "{a: ", "[{", "&a [", "!a [" };
	char *data = malloc(65536);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		size_t n = strlen(units[i]), len = 0;

		for (int depth = 0; depth < 10000 && len + n <= 65536; depth++, len += n)
			memcpy(data + len, units[i], n);
		check_refused(data, len);
		/* And as a value */
		memmove(data + 3, data, len - 3);
		memcpy(data, "a: ", 3);
		check_refused(data, len);
	}
	free(data);
}

/* "Billion laughs": nine lines that are a billion strings to a reader that follows aliases. */
static void test_alias_bomb(void **state)
{
	struct buf bomb;

	(void)state;
	buf_init(&bomb, 0);
	buf_str(&bomb, "a: &a [x,x,x,x,x,x,x,x,x]\n");
	for (char c = 'b'; c <= 'i'; c++) {
		buf_printf(&bomb, "%c: &%c [", c, c);
		for (int i = 0; i < 9; i++)
			buf_printf(&bomb, "%s*%c", i > 0 ? "," : "", c - 1);
		buf_str(&bomb, "]\n");
	}
	check_refused(bomb.data, bomb.len);
	buf_done(&bomb);
}

/* 64 KiB are read, not a byte more; of 10 MB no more than that is ever held. */
static void test_size(void **state)
{
	struct rusage before, after;
	size_t len = 10 << 20;
	char *data = malloc(len);

	(void)state;
	assert_non_null(data);
	memset(data, '#', len);
	check(data, 65536, "", NULL);
	check(data, 65537, "", ": is larger than 64 KiB");
	getrusage(RUSAGE_SELF, &before);
	check(data, len, "", ": is larger than 64 KiB");
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 4096); /* KiB */
	free(data);
}

static void test_one_long_value(void **state)
{
	struct buf items, message;
	char *data = malloc(60000);

	(void)state;
	assert_non_null(data);
	memset(data, 'x', 60000);
	memcpy(data, "a: ", 3);
	write_bytes(data, 60000);
	assert_int_equal(read_back(&items, &message), 0);
	assert_int_equal(items.len, strlen("a=@1,") + 60000 - 3);
	/* A key of that length is none. */
	memset(data, 'x', 60000);
	check_refused(data, 60000);
	buf_done(&items);
	buf_done(&message);
	free(data);
}

static void test_not_a_file(void **state)
{
	char fifo[64];
	struct buf items, message;

	(void)state;
	buf_init(&items, 0);
	buf_init(&message, 0);
	snprintf(fifo, sizeof(fifo), "%s.fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	/* Opening a FIFO as usual would wait for a writer, for ever. */
	alarm(10);
	assert_int_equal(options_yaml_read(fifo, keep, &items, &message), -EINVAL);
	alarm(0);
	assert_non_null(strstr(message.data, ".fifo: is not a regular file"));
	unlink(fifo);
	buf_reset(&message);
	assert_int_equal(options_yaml_read(fifo, keep, &items, &message), -EINVAL);
	assert_non_null(strstr(message.data, ".fifo: No such file or directory"));
	buf_done(&items);
	buf_done(&message);
}

/* Cuts and changes of a good file, from a fixed seed: never a crash, always a message. */
static void test_changed_bytes(void **state)
{
	static const char good[] = "# c\na: 1s\nb: 'x'\nc: \"y\\n\"\n? d\n: {e: f}\n---\n- *g\n";
	char data[sizeof(good)];

	(void)state;
	srand(7);
	for (int round = 0; round < 3000; round++) {
		size_t len = (size_t)rand() % sizeof(good);
		struct buf items, message;
		int err;

		memcpy(data, good, sizeof(good));
		for (int i = rand() % 4; i > 0; i--)
			data[(size_t)rand() % sizeof(good)] = (char)rand();
		write_bytes(data, len);
		err = read_back(&items, &message);
		assert_true(err == 0 || err == -EINVAL);
		assert_int_equal(err<0, message.len> 0);
		buf_done(&items);
		buf_done(&message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),	   cmocka_unit_test(test_nul_byte),
		cmocka_unit_test(test_deep),	   cmocka_unit_test(test_alias_bomb),
		cmocka_unit_test(test_size),	   cmocka_unit_test(test_one_long_value),
		cmocka_unit_test(test_not_a_file), cmocka_unit_test(test_changed_bytes),
	};

	return cmocka_run_group_tests(tests, make_file, remove_file);
}
