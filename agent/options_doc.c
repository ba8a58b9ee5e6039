// SPDX-License-Identifier: Apache-2.0
#include "options_doc.h"

#include <stdio.h>
#include <string.h>

#include "options_value.h"

#define HELP_WIDTH 98

static bool is_number(const struct option_row *row)
{
	return row->type == OPTIONS_TYPE_NUMBER || row->type == OPTIONS_TYPE_DURATION ||
	       row->type == OPTIONS_TYPE_RATIO;
}

/* "observe, throttle" or "100ms to 1m" */
static void write_values(const struct option_row *row, struct buf *out)
{
	if (row->type == OPTIONS_TYPE_CHOICE) {
		for (int i = 0; row->choices[i]; i++)
			buf_printf(out, "%s%s", i > 0 ? ", " : "", row->choices[i]);
	} else if (is_number(row)) {
		options_value_write_range(row, out);
	}
}

static void write_fallback(const struct option_row *row, struct buf *out)
{
	buf_str(out, row->fallback_help ? row->fallback_help : row->fallback);
}

/* Words of @text, broken before HELP_WIDTH; continuation lines begin at column @indent. */
static void write_wrapped(const char *text, size_t indent, struct buf *out)
{
	size_t column = indent;

	while (*text != '\0') {
		size_t len = strcspn(text, " ");

		if (column > indent && column + 1 + len > HELP_WIDTH) {
			buf_printf(out, "\n%*s", (int)indent, "");
			column = indent;
		} else if (column > indent) {
			buf_char(out, ' ');
			column++;
		}
		buf_add(out, text, len);
		column += len;
		text += len;
		text += strspn(text, " ");
	}
	buf_char(out, '\n');
}

static size_t write_flag(const struct option_row *row, struct buf *out)
{
	size_t before = out->len;

	buf_printf(out, "  --%s%s%s", row->name, row->value_name ? " " : "",
		   row->value_name ? row->value_name : "");
	return out->len - before;
}

static void write_sentence(const struct option_row *row, struct buf *out)
{
	buf_str(out, row->help);
	if (row->type == OPTIONS_TYPE_ACTION)
		return;
	buf_str(out, " (");
	if (row->type == OPTIONS_TYPE_CHOICE || is_number(row)) {
		write_values(row, out);
		buf_str(out, "; ");
	}
	buf_str(out, "default: ");
	write_fallback(row, out);
	buf_char(out, ')');
}

void options_doc_write_help(struct buf *out)
{
	struct buf text;
	size_t widest = 0;

	buf_init(&text, 0);
	for (size_t i = 0; i < options_table_len; i++) {
		size_t width;

		buf_reset(&text);
		width = write_flag(&options_table[i], &text);
		/* One very long flag shall not push all the others' text to the right. */
		if (width > widest && width <= 32)
			widest = width;
	}
	buf_str(out,
		"Usage: pidwarden [OPTION]...\n"
		"Watches who holds this node's PIDs and slows CI builds before forks fail.\n\n");
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		size_t width = write_flag(row, out);

		if (width > widest)
			buf_printf(out, "\n%*s", (int)widest + 2, "");
		else
			buf_printf(out, "%*s", (int)(widest + 2 - width), "");
		buf_reset(&text);
		write_sentence(row, &text);
		write_wrapped(text.data ? text.data : "", widest + 2, out);
	}
	buf_str(out,
		"\nEach option is also an environment variable (--log-level: "
		"PIDWARDEN_LOG_LEVEL) and a key\nof the file named by --config (log-level: "
		"debug). A flag is stronger than the environment,\nthe environment than the file, "
		"the file than the default. A wrong setting ends in exit code 2.\n");
	if (text.err < 0)
		out->err = text.err;
	buf_done(&text);
}

/* Nothing in the table needs more than this to stand in a markdown cell. */
static void write_cell(const char *text, struct buf *out)
{
	for (; *text != '\0'; text++) {
		if (*text == '|')
			buf_char(out, '\\');
		buf_char(out, *text);
	}
}

void options_doc_write_table(struct buf *out)
{
	buf_str(out, "| option | environment | values | default | meaning |\n"
		     "|---|---|---|---|---|\n");
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		char env[OPTIONS_ENV_MAX];

		buf_printf(out, "| `--%s` |", row->name);
		if (row->type == OPTIONS_TYPE_ACTION) {
			buf_str(out, " | | |");
		} else {
			options_table_env_name(row, env, sizeof(env));
			buf_printf(out, " `%s` | ", env);
			if (row->type == OPTIONS_TYPE_BOOL)
				buf_str(out, "true, false");
			else if (row->type == OPTIONS_TYPE_CHOICE || is_number(row))
				write_values(row, out);
			else
				buf_str(out, row->value_name);
			buf_str(out, row->fallback_help ? " | " : " | `");
			write_fallback(row, out);
			buf_str(out, row->fallback_help ? " |" : "` |");
		}
		buf_char(out, ' ');
		write_cell(row->help, out);
		buf_str(out, " |\n");
	}
}

void options_doc_write_config(struct buf *out)
{
	struct buf text;

	buf_init(&text, 0);
	buf_str(out,
		"# SPDX-License-Identifier: Apache-2.0\n"
		"# pidwarden --config FILE: every option, at its default. `pidwarden --check-config "
		"--config FILE`\n# checks a changed one and shows what is in force.\n");
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];
		bool quote;

		if (row->type == OPTIONS_TYPE_ACTION || row->not_in_file)
			continue;
		/* Plain, an empty value would be null. */
		quote = row->fallback[0] == '\0';
		buf_reset(&text);
		write_sentence(row, &text);
		buf_str(out, "\n# ");
		/* One comment a line: the sentences are shorter than a screen is wide, or nearly. */
		buf_str(out, text.data ? text.data : "");
		buf_printf(out, "\n#%s: %s%s%s\n", row->name, quote ? "\"" : "", row->fallback,
			   quote ? "\"" : "");
	}
	if (text.err < 0)
		out->err = text.err;
	buf_done(&text);
}

void options_doc_write_effective(const struct options *options, const enum options_source sources[],
				 struct buf *out)
{
	static const char *const names[] = {
		[OPTIONS_SOURCE_DEFAULT] = "default",
		[OPTIONS_SOURCE_FILE] = "file",
		[OPTIONS_SOURCE_ENVIRONMENT] = "environment",
		[OPTIONS_SOURCE_FLAG] = "flag",
	};
	struct buf value;

	buf_init(&value, 0);
	buf_str(out, "The configuration is valid. In force:\n");
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];

		if (row->type == OPTIONS_TYPE_ACTION)
			continue;
		buf_reset(&value);
		options_value_write(row, options, &value);
		buf_printf(out, "  %-29s %-24s (%s)\n", row->name, value.len > 0 ? value.data : "-",
			   names[sources[i]]);
	}
	if (value.err < 0)
		out->err = value.err;
	buf_done(&value);
}
