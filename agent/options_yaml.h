/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration file: a flat map of plain values in YAML, read with the place of each.
 * Refuses: everything else that YAML can be (lists, maps in maps, anchors, tags, several
 * documents, more than 64 KiB), so that no file can cost memory or time; to know any option.
 */
#ifndef PIDWARDEN_OPTIONS_YAML_H
#define PIDWARDEN_OPTIONS_YAML_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

struct options_yaml_item {
	const char *key, *value; /* NUL-terminated UTF-8 without NUL bytes inside */
	bool quoted; /* the value is text whatever it looks like */
	size_t line; /* of the key, from 1 */
	bool blame_key; /* set by the callback: the message is about the key, not the value */
};

/* 0, or a negative errno with the reason appended to @why; the place is added here. */
typedef int (*options_yaml_fn)(struct options_yaml_item *item, void *data, struct buf *why);

/* Calls @fn for each item in order. 0, or -EINVAL or -ENOMEM with "FILE:LINE:COLUMN: reason" (or
 * "FILE: reason" when the file as a whole is at fault) appended to @message. */
int options_yaml_read(const char *path, options_yaml_fn fn, void *data, struct buf *message);

#endif
