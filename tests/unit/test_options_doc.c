// SPDX-License-Identifier: Apache-2.0
/*
 * What people read about options is what the table says. "test_options_doc --table" and "--config"
 * print what README.md and manifests/config.yaml must hold.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "options.h"
#include "options_doc.h"
#include "options_table.h"

#define ROOT FIXTURES "/../.."

static char text[1 << 20];

static const char *read_text(const char *path)
{
	int len = read_small_file(-1, path, text, sizeof(text));

	return len < 0 ? NULL : text;
}

static void test_readme(void **state)
{
	const char *readme = read_text(ROOT "/README.md"), *begin, *end;
	struct buf want;

	(void)state;
	begin = readme ? strstr(readme, OPTIONS_DOC_BEGIN) : NULL;
	if (!begin) {
		print_message("README.md has no option table yet\n");
		skip();
	}
	begin += strlen(OPTIONS_DOC_BEGIN);
	end = strstr(begin, OPTIONS_DOC_END);
	assert_non_null(end);
	text[end - text] = '\0';
	buf_init(&want, 0);
	options_doc_write_table(&want);
	assert_string_equal(begin, want.data);
	buf_done(&want);
}

static void test_config_file(void **state)
{
	const char *config = read_text(ROOT "/manifests/config.yaml");
	struct buf want;

	(void)state;
	assert_non_null(config);
	buf_init(&want, 0);
	options_doc_write_config(&want);
	assert_string_equal(config, want.data);
	buf_done(&want);
}

/* Each default of the shipped file, without its comment sign, is valid and is the default. */
static void test_config_file_uncommented(void **state)
{
	char path[] = "/tmp/test_options_doc.XXXXXX";
	char *argv[] = { (char *)"pidwarden", (char *)"--config", path, (char *)"--check-config" };
	const char *config = read_text(ROOT "/manifests/config.yaml");
	struct options options = { 0 };
	struct buf with, without;
	size_t lines = 0, keys = 0;
	int fd = mkstemp(path);
	FILE *file;

	(void)state;
	assert_non_null(config);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	for (const char *line = config; *line != '\0'; line = strchr(line, '\n') + 1) {
		size_t len = strcspn(line, "\n");

		assert_true(line[len] == '\n');
		if (line[0] == '#' && line[1] >= 'a' && line[1] <= 'z') {
			fprintf(file, "%.*s\n", (int)len - 1, line + 1);
			lines++;
		}
	}
	fclose(file);
	for (size_t i = 0; i < options_table_len; i++)
		keys += options_table[i].type != OPTIONS_TYPE_ACTION &&
			!options_table[i].not_in_file;
	assert_int_equal(lines, keys);

	buf_init(&with, 0);
	buf_init(&without, 0);
	assert_int_equal(options_parse(4, argv, NULL, &options, &with), OPTIONS_PRINT);
	argv[1] = argv[3];
	assert_int_equal(options_parse(2, argv, NULL, &options, &without), OPTIONS_PRINT);
	/* Equal but for the sources, and the line that shows --config. */
	for (char *at = with.data; (at = strstr(at, "(file)")) != NULL; at++)
		keys--;
	assert_int_equal(keys, 0);
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		char name[64];
		const char *a, *b;

		if (row->type == OPTIONS_TYPE_ACTION || row->not_in_file)
			continue;
		snprintf(name, sizeof(name), "\n  %s ", row->name);
		a = strstr(with.data, name);
		b = strstr(without.data, name);
		assert_non_null(a);
		assert_non_null(b);
		assert_memory_equal(a, b, strcspn(b, "("));
	}
	unlink(path);
	buf_done(&with);
	buf_done(&without);
}

static void test_help(void **state)
{
	struct buf help;
	size_t column = 0;

	(void)state;
	buf_init(&help, 0);
	options_doc_write_help(&help);
	assert_int_equal(help.err, 0);
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		char flag[64];
		const char *at, *word;

		snprintf(flag, sizeof(flag), "\n  --%s", row->name);
		at = strstr(help.data, flag);
		assert_non_null(at);
		/* All sentences begin in one column. */
		word = strstr(at + strlen(flag), row->help[0] == '\0' ? " " : "  ");
		assert_non_null(word);
		word += strspn(word, " \n");
		assert_memory_equal(word, row->help, strcspn(row->help, " "));
		if (column == 0)
			column = (size_t)(word - at - 1);
		assert_int_equal(word - at - 1, column);
		if (row->type != OPTIONS_TYPE_ACTION && !row->fallback_help)
			assert_non_null(strstr(at, row->fallback));
	}
	for (const char *line = help.data; *line != '\0'; line = strchr(line, '\n') + 1)
		assert_true(strcspn(line, "\n") <= 100);
	buf_done(&help);
}

/* What the table itself must keep to. */
static void test_table(void **state)
{
	char env[OPTIONS_ENV_MAX];

	(void)state;
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];

		assert_ptr_equal(options_table_find(row->name, strlen(row->name)), row);
		assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz-"),
				 strlen(row->name));
		assert_true(strlen(row->name) + strlen(OPTIONS_ENV_PREFIX) < OPTIONS_ENV_MAX);
		assert_non_null(row->help);
		assert_true(row->help[strlen(row->help) - 1] != '.');
		assert_int_equal(row->type == OPTIONS_TYPE_ACTION, row->fallback == NULL);
		assert_int_equal(row->type == OPTIONS_TYPE_ACTION || row->type == OPTIONS_TYPE_BOOL,
				 row->value_name == NULL);
		/* Kubernetes' own variables would be taken for it, or it for one of them. */
		options_table_env_name(row, env, sizeof(env));
		assert_null(strstr(env, "_PORT"));
	}
	options_table_env_name(options_table_find("kubelet-url", 11), env, sizeof(env));
	assert_string_equal(env, "PIDWARDEN_KUBELET_URL");
	assert_null(options_table_find("kubelet", 7));
	assert_null(options_table_find("kubelet-url-", 12));
}

int main(int argc, char *argv[])
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_readme),
		cmocka_unit_test(test_config_file),
		cmocka_unit_test(test_config_file_uncommented),
		cmocka_unit_test(test_help),
		cmocka_unit_test(test_table),
	};

	if (argc > 1) {
		struct buf out;

		buf_init(&out, 0);
		if (strcmp(argv[1], "--config") == 0)
			options_doc_write_config(&out);
		else
			options_doc_write_table(&out);
		fputs(out.data, stdout);
		buf_done(&out);
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
