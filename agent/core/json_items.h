/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cuts the `items` array of a Kubernetes list into single JSON texts while the bytes arrive, so
 * that a list of any length costs the memory of its largest item.
 * Refuses: to build values (cJSON does, one item at a time), to recurse, to hold the body. An item
 * beyond a cap is scanned past and counted; the list goes on.
 */
#ifndef PIDWARDEN_CORE_JSON_ITEMS_H
#define PIDWARDEN_CORE_JSON_ITEMS_H

#include <stdbool.h>
#include <stddef.h>

struct json_items;

/* 0 in a field: its default. */
struct json_items_limits {
	size_t item_bytes; /* 1 MiB */
	/* 20,000. cJSON spends 64 bytes and a malloc header on each value: 1 MiB of "[1,1,1" would
	 * cost 40 MB without this. The largest pod recorded from a real kubelet has 500. */
	size_t item_values;
	size_t depth; /* 64, also the most; at least 4: levels of brackets, the list's own two included */
	size_t body_bytes; /* 64 MiB; beyond it the list is refused */
	size_t items; /* 10,000; further ones are skipped */
};

/*
 * @json is the item, @len bytes and a NUL; it is gone when the function returns. What lies outside
 * strings is well-formed in its brackets, commas and colons; numbers and words are not yet looked
 * at. A negative errno stops the list and is what json_items_feed() returns.
 */
typedef int (*json_items_fn)(const char *json, size_t len, void *data);

struct json_items_stats {
	size_t seen; /* items, skipped ones included */
	size_t skipped; /* beyond a cap */
	size_t bytes; /* fed and scanned; at an error the offset of the byte that showed it */
	bool complete; /* the document was closed, with nothing but white space behind it */
	char kind[64]; /* of the list ("PodList"), "" when absent or too long */
	char resource_version[64]; /* metadata.resourceVersion, as for kind */
};

/* 0 or -ENOMEM. @limits may be NULL. */
int json_items_new(const struct json_items_limits *limits, json_items_fn fn, void *data,
		   struct json_items **ret_parser);
void json_items_free(struct json_items *parser);
/* For the next document; keeps a small buffer. */
void json_items_reset(struct json_items *parser);

/*
 * 0, -EBADMSG (no JSON list: json_items_error() says why), -EFBIG (body cap), -ENOMEM, or what the
 * item function returned. An error stays until json_items_reset().
 */
int json_items_feed(struct json_items *parser, const char *bytes, size_t len);
/* After the last byte: 0 for a complete list, else as json_items_feed(). */
int json_items_finish(struct json_items *parser);

const struct json_items_stats *json_items_stats(const struct json_items *parser);
/* Static text, NULL when there is no error. */
const char *json_items_error(const struct json_items *parser);

#endif
