/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The text of one option turned into its typed, range-checked value, and back.
 * Refuses: to know where the text came from, to look at other options or at the machine.
 */
#ifndef PIDWARDEN_OPTIONS_VALUE_H
#define PIDWARDEN_OPTIONS_VALUE_H

#include <stdint.h>

#include "base/buf.h"
#include "options.h"
#include "options_table.h"

/*
 * Stores @text in the row's field. -EINVAL with the reason appended to @why (the option is not
 * named in it), or -ENOMEM; the field is then as before.
 */
int options_value_set(const struct option_row *row, const char *text, struct options *options,
		      struct buf *why);
void options_value_free(const struct option_row *row, struct options *options);
/* As one would write it; of a URL's query only that there is one, since it may hold a secret. */
void options_value_write(const struct option_row *row, const struct options *options,
			 struct buf *out);
/* "100ms to 1m"; nothing for a type without a range. */
void options_value_write_range(const struct option_row *row, struct buf *out);
/* @text in quotes, harmless on a terminal and cut after some 60 bytes. */
void options_value_quote(const char *text, struct buf *out);

#endif
