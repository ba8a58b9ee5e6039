// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"
#include "options_check.h"
#include "options_doc.h"
#include "options_table.h"
#include "options_value.h"
#include "options_yaml.h"

struct parsing {
	struct options options;
	struct buf *message;
	const char *flags[OPTIONS_ROWS_MAX]; /* as given; NULL: not given */
	const char *envs[OPTIONS_ROWS_MAX];
	size_t file_lines[OPTIONS_ROWS_MAX]; /* 0: not in the file */
	enum options_source sources[OPTIONS_ROWS_MAX];
	enum options_action action;
};

static void parsing_done(struct parsing *parsing)
{
	options_done(&parsing->options);
}

static size_t index_of(const struct option_row *row)
{
	return (size_t)(row - options_table);
}

void options_done(struct options *options)
{
	if (!options)
		return;
	for (size_t i = 0; i < options_table_len; i++)
		options_value_free(&options_table[i], options);
}

static int fail(struct parsing *parsing, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static int fail(struct parsing *parsing, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	buf_vprintf(parsing->message, fmt, args);
	va_end(args);
	return -EINVAL;
}

/* The right name is shown as it is written in that source. */
static int fail_unknown(struct buf *message, enum options_source source, const char *name)
{
	const struct option_row *nearest = options_table_nearest(name);
	char env[OPTIONS_ENV_MAX];

	buf_printf(message, "unknown %s",
		   source == OPTIONS_SOURCE_FLAG ? "option" :
		   source == OPTIONS_SOURCE_FILE ? "key" :
						   "environment variable");
	if (!nearest || (nearest->type == OPTIONS_TYPE_ACTION && source != OPTIONS_SOURCE_FLAG))
		return -EINVAL;
	options_table_env_name(nearest, env, sizeof(env));
	buf_printf(message, "; did you mean %s%s?", source == OPTIONS_SOURCE_FLAG ? "--" : "",
		   source == OPTIONS_SOURCE_ENVIRONMENT ? env : nearest->name);
	return -EINVAL;
}

/* --- flags --- */

static int parse_flag(struct parsing *parsing, int argc, char *const argv[], int *at)
{
	const char *arg = argv[*at], *name = arg, *value;
	size_t len = 0;
	const struct option_row *row;
	clean_free char *bare = NULL;
	int err;

	if (strncmp(arg, "--", 2) == 0) {
		name += 2;
		len = strcspn(name, "=");
	}
	if (len == 0) {
		buf_str(parsing->message, "unexpected argument ");
		options_value_quote(arg, parsing->message);
		return fail(parsing, "; --help lists the options");
	}
	row = options_table_find(name, len);
	if (!row) {
		bare = strndup(name, len);
		if (!bare)
			return -ENOMEM;
		buf_str(parsing->message, "--");
		buf_printable(parsing->message, bare);
		buf_str(parsing->message, ": ");
		return fail_unknown(parsing->message, OPTIONS_SOURCE_FLAG, bare);
	}
	value = name[len] == '=' ? name + len + 1 : NULL;
	if (row->type == OPTIONS_TYPE_ACTION) {
		if (value)
			return fail(parsing, "--%s: takes no value", row->name);
		/* --help and --version come before any check. */
		if (row->action > parsing->action)
			parsing->action = row->action;
		return 0;
	}
	if (!value && row->type == OPTIONS_TYPE_BOOL)
		value = "true";
	if (!value) {
		/* "--mode --listen x" is a forgotten value, not a mode called "--listen". */
		if (*at + 1 >= argc || strncmp(argv[*at + 1], "--", 2) == 0)
			return fail(parsing, "--%s: needs a value: --%s %s", row->name, row->name,
				    row->value_name);
		value = argv[++*at];
	}
	buf_printf(parsing->message, "--%s: ", row->name);
	/* Each one is checked, also one that a later one replaces. */
	err = options_value_set(row, value, &parsing->options, parsing->message);
	if (err < 0)
		return err;
	buf_reset(parsing->message);
	parsing->flags[index_of(row)] = value;
	return 0;
}

/* --- environment --- */

static bool ends_with(const char *str, size_t len, const char *end)
{
	size_t end_len = strlen(end);

	return len >= end_len && memcmp(str + len - end_len, end, end_len) == 0;
}

/*
 * Kubernetes gives each container variables for every Service of its namespace (PodSpec
 * enableServiceLinks, on by default): a Service called "pidwarden" makes PIDWARDEN_SERVICE_HOST,
 * PIDWARDEN_SERVICE_PORT_METRICS, PIDWARDEN_PORT, PIDWARDEN_PORT_9917_TCP_ADDR. Nobody's typing
 * error, so no reason to refuse to start.
 */
static bool is_service_link(const char *name, size_t len)
{
	clean_free char *copy = strndup(name, len);
	const char *port;

	if (!copy)
		return false;
	if (ends_with(copy, len, "_SERVICE_HOST") || ends_with(copy, len, "_PORT") ||
	    strstr(copy, "_SERVICE_PORT"))
		return true;
	port = strstr(copy, "_PORT_");
	return port && port[6] >= '0' && port[6] <= '9';
}

static int parse_env(struct parsing *parsing, const char *entry)
{
	size_t len = strcspn(entry, "=");
	clean_free char *name = NULL;
	char expected[OPTIONS_ENV_MAX];
	int err;

	if (strncmp(entry, OPTIONS_ENV_PREFIX, strlen(OPTIONS_ENV_PREFIX)) != 0 ||
	    entry[len] != '=')
		return 0;
	name = strndup(entry, len);
	if (!name)
		return -ENOMEM;
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];

		if (row->type == OPTIONS_TYPE_ACTION)
			continue;
		options_table_env_name(row, expected, sizeof(expected));
		if (strcmp(name, expected) != 0)
			continue;
		buf_printf(parsing->message, "%s: ", expected);
		err = options_value_set(row, entry + len + 1, &parsing->options, parsing->message);
		if (err < 0)
			return err;
		buf_reset(parsing->message);
		parsing->envs[i] = entry + len + 1;
		return 0;
	}
	if (is_service_link(entry, len))
		return 0;
	buf_printable(parsing->message, name);
	buf_str(parsing->message, ": ");
	return fail_unknown(parsing->message, OPTIONS_SOURCE_ENVIRONMENT,
			    name + strlen(OPTIONS_ENV_PREFIX));
}

/* --- file --- */

static bool looks_like_null(const char *value)
{
	return *value == '\0' || strcmp(value, "~") == 0 || strcmp(value, "null") == 0 ||
	       strcmp(value, "Null") == 0 || strcmp(value, "NULL") == 0;
}

static bool looks_like_bool(const char *value)
{
	static const char *const words[] = { "true", "True", "TRUE", "false", "False", "FALSE" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (strcmp(value, words[i]) == 0)
			return true;
	}
	return false;
}

static bool looks_like_number(const char *value)
{
	size_t digits = strspn(value, "0123456789.");

	return digits > 0 && value[digits] == '\0';
}

/* What YAML itself makes of the value must be what the option wants. */
static int check_type(const struct option_row *row, const struct options_yaml_item *item,
		      struct buf *why)
{
	bool wants_plain = row->type == OPTIONS_TYPE_BOOL || row->type == OPTIONS_TYPE_NUMBER;
	const char *wants = row->type == OPTIONS_TYPE_BOOL ? "true or false" : "a number";
	const char *is = NULL;

	if (!item->quoted && looks_like_null(item->value))
		is = "nothing";
	else if (wants_plain && item->quoted)
		is = "quoted text";
	else if (!wants_plain && !item->quoted && looks_like_bool(item->value))
		is = "a boolean";
	else if (row->type == OPTIONS_TYPE_TEXT && !item->quoted && looks_like_number(item->value))
		is = "a number";
	else
		return 0;
	if (!wants_plain)
		wants = row->type == OPTIONS_TYPE_TEXT ? "text (in quotes)" : row->value_name;
	buf_printf(why, "is %s, but needs %s", is, wants);
	return -EINVAL;
}

static int parse_item(struct options_yaml_item *item, void *data, struct buf *why)
{
	struct parsing *parsing = data;
	const struct option_row *row = options_table_find(item->key, strlen(item->key));
	size_t index;
	int err;

	item->blame_key = true;
	if (!row || row->type == OPTIONS_TYPE_ACTION || row->not_in_file) {
		options_value_quote(item->key, why);
		buf_str(why, ": ");
		if (row) {
			buf_str(why, "only as a flag, not in the file");
			return -EINVAL;
		}
		return fail_unknown(why, OPTIONS_SOURCE_FILE, item->key);
	}
	index = index_of(row);
	buf_printf(why, "%s: ", row->name);
	if (parsing->file_lines[index] > 0) {
		buf_printf(why, "given twice, first in line %zu", parsing->file_lines[index]);
		return -EINVAL;
	}
	item->blame_key = false;
	err = check_type(row, item, why);
	if (err < 0)
		return err;
	err = options_value_set(row, item->value, &parsing->options, why);
	if (err < 0)
		return err;
	parsing->file_lines[index] = item->line;
	parsing->sources[index] = OPTIONS_SOURCE_FILE;
	return 0;
}

/* --- all of them --- */

static int apply_defaults(struct parsing *parsing)
{
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		int err;

		if (row->type == OPTIONS_TYPE_ACTION)
			continue;
		err = options_value_set(row, row->fallback, &parsing->options, parsing->message);
		if (err < 0)
			return err;
	}
	return 0;
}

/* Checked before, so only memory can be missing now. */
static int apply(struct parsing *parsing, const char *const values[], enum options_source source)
{
	for (size_t i = 0; i < options_table_len; i++) {
		int err;

		if (!values[i])
			continue;
		err = options_value_set(&options_table[i], values[i], &parsing->options,
					parsing->message);
		if (err < 0)
			return err;
		parsing->sources[i] = source;
	}
	return 0;
}

/* As the kubelet names a node when nobody tells it a name: the host's, in lower case. */
static int apply_host_name(struct options *options)
{
	char name[256];

	if (options->node_name[0] != '\0')
		return 0;
	if (gethostname(name, sizeof(name)) < 0)
		return -errno;
	name[sizeof(name) - 1] = '\0';
	for (char *c = name; *c != '\0'; c++) {
		if (*c >= 'A' && *c <= 'Z')
			*c = (char)(*c - 'A' + 'a');
	}
	free(options->node_name);
	options->node_name = strdup(name);
	return options->node_name ? 0 : -ENOMEM;
}

static int parse_sources(struct parsing *parsing, int argc, char *const argv[], char *const envp[])
{
	int err = 0;

	for (int i = 1; i < argc; i++) {
		err = parse_flag(parsing, argc, argv, &i);
		if (err < 0)
			return err;
	}
	/* Help is for whom nothing works yet. */
	if (parsing->action == OPTIONS_ACTION_HELP || parsing->action == OPTIONS_ACTION_VERSION)
		return 0;
	for (size_t i = 0; envp && envp[i]; i++) {
		err = parse_env(parsing, envp[i]);
		if (err < 0)
			return err;
	}
	return 0;
}

static int parse_all(struct parsing *parsing, int argc, char *const argv[], char *const envp[])
{
	const struct option_row *config = options_table_find("config", strlen("config"));
	const char *file;
	int err;

	/* From here on no text field is NULL. */
	err = apply_defaults(parsing);
	if (err < 0)
		return err;
	err = parse_sources(parsing, argc, argv, envp);
	if (err < 0 || parsing->action > OPTIONS_ACTION_CHECK)
		return err;
	/* The values above are checked; now the order of strength decides. */
	err = apply_defaults(parsing);
	if (err < 0)
		return err;
	file = parsing->flags[index_of(config)];
	if (!file)
		file = parsing->envs[index_of(config)];
	if (file && file[0] != '\0') {
		err = options_yaml_read(file, parse_item, parsing, parsing->message);
		if (err < 0)
			return err;
	}
	err = apply(parsing, parsing->envs, OPTIONS_SOURCE_ENVIRONMENT);
	if (err < 0)
		return err;
	err = apply(parsing, parsing->flags, OPTIONS_SOURCE_FLAG);
	if (err < 0)
		return err;
	err = apply_host_name(&parsing->options);
	if (err < 0)
		return err;
	return options_check(&parsing->options, parsing->message);
}

int options_parse(int argc, char *const argv[], char *const envp[], struct options *ret_options,
		  struct buf *ret_message)
{
	__attribute__((cleanup(parsing_done))) struct parsing parsing = { .message = ret_message };
	int err;

	err = parse_all(&parsing, argc, argv, envp);
	if (err == -ENOMEM) {
		buf_reset(ret_message);
		buf_str(ret_message, "out of memory");
	}
	if (err < 0)
		return err;
	switch (parsing.action) {
	case OPTIONS_ACTION_HELP:
		options_doc_write_help(ret_message);
		return OPTIONS_PRINT;
	case OPTIONS_ACTION_VERSION:
		buf_str(ret_message, "pidwarden " PIDWARDEN_VERSION "\n");
		return OPTIONS_PRINT;
	case OPTIONS_ACTION_CHECK:
		options_doc_write_effective(&parsing.options, parsing.sources, ret_message);
		return OPTIONS_PRINT;
	case OPTIONS_ACTION_NONE:
		break;
	}
	*ret_options = parsing.options;
	memset(&parsing.options, 0, sizeof(parsing.options));
	return OPTIONS_RUN;
}
