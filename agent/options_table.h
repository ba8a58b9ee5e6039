/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one table of options: what each is called, takes, defaults to and means. Flags, environment
 * variables, file keys, --help, the README's table and manifests/config.yaml all come from it.
 * Refuses: to hold anybody's settings.
 */
#ifndef PIDWARDEN_OPTIONS_TABLE_H
#define PIDWARDEN_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum options_type {
	OPTIONS_TYPE_ACTION, /* flag only, no value: --help */
	OPTIONS_TYPE_TEXT, /* char * */
	OPTIONS_TYPE_PATH, /* char *, absolute */
	OPTIONS_TYPE_FILE, /* char *, may be relative */
	OPTIONS_TYPE_URL, /* char *, http or https */
	OPTIONS_TYPE_LISTEN, /* char *, ADDRESS:PORT */
	OPTIONS_TYPE_BOOL, /* bool */
	OPTIONS_TYPE_CHOICE, /* an enum that counts from 0 */
	OPTIONS_TYPE_NUMBER, /* uint64_t; min and max as they are */
	OPTIONS_TYPE_DURATION, /* int64_t; min and max in ms */
	OPTIONS_TYPE_RATIO, /* double; min and max in hundredths of a percent */
};

enum options_action {
	OPTIONS_ACTION_NONE,
	OPTIONS_ACTION_CHECK,
	OPTIONS_ACTION_VERSION,
	OPTIONS_ACTION_HELP
};

#define OPTIONS_CHOICES_MAX 5

struct option_row {
	const char *name; /* flag without its dashes, and file key */
	enum options_type type;
	size_t offset; /* in struct options */
	const char *fallback; /* the default, as one would write it */
	const char *fallback_help; /* says what an empty default means; NULL: show fallback */
	int64_t min, max;
	const char *choices[OPTIONS_CHOICES_MAX]; /* in the enum's order, NULL-terminated */
	bool required; /* may not be set to "" */
	bool not_in_file; /* makes no sense in the file: --config */
	enum options_action action;
	const char *value_name; /* shown in --help: --interval DURATION */
	const char *help; /* one sentence, no full stop */
};

#define OPTIONS_ROWS_MAX 64
extern const struct option_row options_table[];
extern const size_t options_table_len; /* at most OPTIONS_ROWS_MAX */

enum options_source {
	OPTIONS_SOURCE_DEFAULT,
	OPTIONS_SOURCE_FILE,
	OPTIONS_SOURCE_ENVIRONMENT,
	OPTIONS_SOURCE_FLAG
};

/* NULL when there is none. @len: bytes of @name that count. */
const struct option_row *options_table_find(const char *name, size_t len);
/* The option that @name was probably meant to be, or NULL. */
const struct option_row *options_table_nearest(const char *name);
/* "kubelet-url" becomes "PIDWARDEN_KUBELET_URL"; @size at least OPTIONS_ENV_MAX. */
#define OPTIONS_ENV_PREFIX "PIDWARDEN_"
#define OPTIONS_ENV_MAX 64
void options_table_env_name(const struct option_row *row, char *ret_name, size_t size);

#endif
