/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table made readable: --help, the README's table, the shipped configuration file and
 * the settings in force.
 * Refuses: a word about an option that is not in the table.
 */
#ifndef PIDWARDEN_OPTIONS_DOC_H
#define PIDWARDEN_OPTIONS_DOC_H

#include "base/buf.h"
#include "options.h"
#include "options_table.h"

/* What README.md holds between these two lines is what options_doc_write_table() writes. */
#define OPTIONS_DOC_BEGIN "<!-- options:begin -->\n"
#define OPTIONS_DOC_END "<!-- options:end -->\n"

void options_doc_write_help(struct buf *out);
/* A markdown table with its final newline. */
void options_doc_write_table(struct buf *out);
/* manifests/config.yaml: every key, commented out, at its default. */
void options_doc_write_config(struct buf *out);
/* For --check-config: each value and which source it came from. @sources: one a table row. */
void options_doc_write_effective(const struct options *options, const enum options_source sources[],
				 struct buf *out);

#endif
