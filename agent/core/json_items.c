// SPDX-License-Identifier: Apache-2.0
#include "core/json_items.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define DEFAULT_ITEM_BYTES (1u << 20)
#define DEFAULT_ITEM_VALUES 20000u
#define DEFAULT_BODY_BYTES (64u << 20)
#define DEFAULT_ITEMS 10000u
#define DEPTH_MIN 4u /* the list's own levels, and a little of an item */
#define DEPTH_MAX 64u /* one bit of `objects` a level */
/* What the buffer may keep between documents. A real pod is 4 to 12 kB. */
#define KEEP_BYTES (64u << 10)
#define ITEMS_DEPTH 2u /* inside {"items": [ */

enum expect {
	EXPECT_VALUE,
	EXPECT_VALUE_OR_END, /* after '[' */
	EXPECT_KEY, /* after ',' in an object */
	EXPECT_KEY_OR_END, /* after '{' */
	EXPECT_COLON,
	EXPECT_COMMA_OR_END,
	EXPECT_NOTHING, /* the document is closed */
};

enum token {
	TOKEN_NONE,
	TOKEN_STRING,
	TOKEN_ESCAPE, /* the byte after a backslash */
	TOKEN_SCALAR, /* a number or a word */
};

/* What a key of the list's own says about the value behind it. */
enum role {
	ROLE_OTHER,
	ROLE_ITEMS,
	ROLE_KIND,
	ROLE_METADATA,
	ROLE_RESOURCE_VERSION,
};

struct json_items {
	struct json_items_limits limits;
	json_items_fn fn;
	void *data;
	struct buf item;
	struct json_items_stats stats;
	const char *error;
	int err;

	enum expect expect;
	enum token token;
	bool token_is_key;
	size_t depth;
	uint64_t objects; /* bit n: level n + 1 is an object, else an array */
	size_t below; /* levels beyond the depth cap, only counted */

	enum role role; /* of the value that comes next */
	bool in_metadata;
	bool in_items; /* inside the array */
	bool had_items;

	/* A short string or word kept to be looked at: keys of the list's own, kind, null. */
	char text[64];
	size_t text_len;
	bool text_wanted;
	bool text_cut;

	bool in_item;
	bool item_skipped;
	size_t item_values;
};

static size_t or_default(size_t value, size_t fallback)
{
	return value > 0 ? value : fallback;
}

int json_items_new(const struct json_items_limits *limits, json_items_fn fn, void *data,
		   struct json_items **ret_parser)
{
	struct json_items *parser = calloc(1, sizeof(*parser));

	if (!parser)
		return -ENOMEM;
	if (limits)
		parser->limits = *limits;
	parser->limits.item_bytes = or_default(parser->limits.item_bytes, DEFAULT_ITEM_BYTES);
	parser->limits.item_values = or_default(parser->limits.item_values, DEFAULT_ITEM_VALUES);
	parser->limits.body_bytes = or_default(parser->limits.body_bytes, DEFAULT_BODY_BYTES);
	parser->limits.items = or_default(parser->limits.items, DEFAULT_ITEMS);
	parser->limits.depth = or_default(parser->limits.depth, DEPTH_MAX);
	if (parser->limits.depth > DEPTH_MAX)
		parser->limits.depth = DEPTH_MAX;
	if (parser->limits.depth < DEPTH_MIN)
		parser->limits.depth = DEPTH_MIN;
	parser->fn = fn;
	parser->data = data;
	buf_init(&parser->item, parser->limits.item_bytes);
	json_items_reset(parser);
	*ret_parser = parser;
	return 0;
}

void json_items_free(struct json_items *parser)
{
	if (!parser)
		return;
	buf_done(&parser->item);
	free(parser);
}

void json_items_reset(struct json_items *parser)
{
	struct json_items fresh = {
		.limits = parser->limits,
		.fn = parser->fn,
		.data = parser->data,
	};

	if (parser->item.size > KEEP_BYTES)
		buf_done(&parser->item);
	buf_reset(&parser->item);
	fresh.item = parser->item;
	*parser = fresh;
}

const struct json_items_stats *json_items_stats(const struct json_items *parser)
{
	return &parser->stats;
}

const char *json_items_error(const struct json_items *parser)
{
	return parser->error;
}

static int fail(struct json_items *parser, int err, const char *error)
{
	parser->err = err;
	parser->error = error;
	return err;
}

static int bad(struct json_items *parser, const char *error)
{
	return fail(parser, -EBADMSG, error);
}

static bool is_object(const struct json_items *parser)
{
	return parser->depth > 0 && (parser->objects >> (parser->depth - 1) & 1);
}

static void item_skip(struct json_items *parser)
{
	if (parser->item_skipped)
		return;
	parser->item_skipped = true;
	parser->stats.skipped++;
	buf_reset(&parser->item);
}

static int item_add(struct json_items *parser, const char *bytes, size_t len)
{
	if (parser->item_skipped)
		return 0;
	buf_add(&parser->item, bytes, len);
	if (parser->item.err == -EFBIG)
		item_skip(parser);
	else if (parser->item.err < 0)
		return fail(parser, parser->item.err, "out of memory");
	return 0;
}

static int item_end(struct json_items *parser)
{
	int err = 0;

	parser->in_item = false;
	if (!parser->item_skipped)
		err = parser->fn(parser->item.data, parser->item.len, parser->data);
	buf_reset(&parser->item);
	if (err < 0)
		return fail(parser, err, "the list was abandoned");
	return 0;
}

/* A value begins at this byte. Decides whether it is an item, and what of it is to be kept. */
static void value_begin(struct json_items *parser)
{
	if (!parser->in_item && parser->in_items && parser->depth == ITEMS_DEPTH) {
		parser->in_item = true;
		parser->item_skipped = false;
		parser->item_values = 0;
		parser->stats.seen++;
		if (parser->stats.seen > parser->limits.items)
			item_skip(parser);
	}
	if (parser->in_item && ++parser->item_values > parser->limits.item_values)
		item_skip(parser);
	parser->text_wanted = parser->role != ROLE_OTHER;
	parser->text_len = 0;
	parser->text_cut = false;
}

/* What comes behind the value that just ended. */
static void value_end(struct json_items *parser)
{
	parser->role = ROLE_OTHER;
	parser->expect = parser->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
	if (parser->depth == 0)
		parser->stats.complete = true;
}

static int bracket_open(struct json_items *parser, char c)
{
	bool object = c == '{';
	uint64_t bit;

	if (parser->depth == 0 && !object)
		return bad(parser, "not a JSON object");
	if (parser->role == ROLE_ITEMS && object)
		return bad(parser, "items is not an array");
	value_begin(parser);
	if (parser->depth == parser->limits.depth) {
		parser->below = 1;
		if (parser->in_item)
			item_skip(parser);
		return 0;
	}
	bit = (uint64_t)1 << parser->depth;
	parser->objects = object ? parser->objects | bit : parser->objects & ~bit;
	parser->depth++;
	if (parser->role == ROLE_ITEMS)
		parser->in_items = true;
	else if (parser->role == ROLE_METADATA)
		parser->in_metadata = object;
	parser->role = ROLE_OTHER;
	parser->expect = object ? EXPECT_KEY_OR_END : EXPECT_VALUE_OR_END;
	return 0;
}

static int bracket_close(struct json_items *parser, char c)
{
	if ((c == '}') != is_object(parser))
		return bad(parser, "a bracket closed by the wrong one");
	parser->depth--;
	if (parser->depth == ITEMS_DEPTH - 1) {
		parser->in_items = false;
		parser->in_metadata = false;
	}
	value_end(parser);
	return 0;
}

static bool text_is(const struct json_items *parser, const char *word)
{
	return !parser->text_cut && strlen(word) == parser->text_len &&
	       memcmp(parser->text, word, parser->text_len) == 0;
}

static int key_end(struct json_items *parser)
{
	parser->expect = EXPECT_COLON;
	parser->role = ROLE_OTHER;
	if (parser->in_item)
		return 0;
	if (parser->depth == 1 && text_is(parser, "items")) {
		/* Two of them: which one is the list? Not something a kubelet sends. */
		if (parser->had_items)
			return bad(parser, "items twice");
		parser->had_items = true;
		parser->role = ROLE_ITEMS;
	} else if (parser->depth == 1 && text_is(parser, "kind")) {
		parser->role = ROLE_KIND;
	} else if (parser->depth == 1 && text_is(parser, "metadata")) {
		parser->role = ROLE_METADATA;
	} else if (parser->depth == 2 && parser->in_metadata &&
		   text_is(parser, "resourceVersion")) {
		parser->role = ROLE_RESOURCE_VERSION;
	}
	return 0;
}

static void text_copy(const struct json_items *parser, char *to, size_t size)
{
	size_t len = parser->text_cut || parser->text_len >= size ? 0 : parser->text_len;

	memcpy(to, parser->text, len);
	to[len] = '\0';
}

static int string_end(struct json_items *parser)
{
	parser->token = TOKEN_NONE;
	if (parser->below > 0)
		return 0;
	if (parser->token_is_key)
		return key_end(parser);
	if (parser->role == ROLE_ITEMS)
		return bad(parser, "items is not an array");
	if (parser->role == ROLE_KIND)
		text_copy(parser, parser->stats.kind, sizeof(parser->stats.kind));
	else if (parser->role == ROLE_RESOURCE_VERSION)
		text_copy(parser, parser->stats.resource_version,
			  sizeof(parser->stats.resource_version));
	value_end(parser);
	return 0;
}

static int scalar_end(struct json_items *parser)
{
	parser->token = TOKEN_NONE;
	if (parser->below > 0)
		return 0;
	if (parser->role == ROLE_ITEMS && !text_is(parser, "null"))
		return bad(parser, "items is not an array");
	value_end(parser);
	return 0;
}

static void text_add(struct json_items *parser, const char *bytes, size_t len)
{
	if (!parser->text_wanted || parser->text_cut)
		return;
	if (len > sizeof(parser->text) - parser->text_len) {
		parser->text_cut = true;
		return;
	}
	memcpy(parser->text + parser->text_len, bytes, len);
	parser->text_len += len;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_scalar(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       c == '-' || c == '+' || c == '.';
}

/* One byte beyond the depth cap: only strings and brackets matter until the level is left. */
static int below_byte(struct json_items *parser, char c)
{
	if (c == '"') {
		parser->token = TOKEN_STRING;
		parser->text_wanted = false;
	} else if (c == '{' || c == '[') {
		parser->below++;
	} else if (c == '}' || c == ']') {
		if (--parser->below == 0)
			value_end(parser);
	}
	return 0;
}

/* One byte outside strings and scalars, no white space. */
static int structure_byte(struct json_items *parser, char c)
{
	switch (parser->expect) {
	case EXPECT_NOTHING:
		return bad(parser, "garbage after the end");
	case EXPECT_COLON:
		if (c != ':')
			return bad(parser, "a key without a colon");
		parser->expect = EXPECT_VALUE;
		return 0;
	case EXPECT_COMMA_OR_END:
		if (c == ',') {
			parser->expect = is_object(parser) ? EXPECT_KEY : EXPECT_VALUE;
			return 0;
		}
		if (c == '}' || c == ']')
			return bracket_close(parser, c);
		return bad(parser, "no comma between values");
	case EXPECT_KEY_OR_END:
		if (c == '}')
			return bracket_close(parser, c);
		__attribute__((fallthrough));
	case EXPECT_KEY:
		if (c != '"')
			return bad(parser, "a key that is no string");
		parser->token = TOKEN_STRING;
		parser->token_is_key = true;
		parser->text_wanted = !parser->in_item;
		parser->text_len = 0;
		parser->text_cut = false;
		return 0;
	case EXPECT_VALUE_OR_END:
		if (c == ']')
			return bracket_close(parser, c);
		__attribute__((fallthrough));
	case EXPECT_VALUE:
		break;
	}
	if (c == '{' || c == '[')
		return bracket_open(parser, c);
	if (parser->depth == 0)
		return bad(parser, "not a JSON object");
	if (c == '"') {
		value_begin(parser);
		parser->token = TOKEN_STRING;
		parser->token_is_key = false;
		return 0;
	}
	if (is_scalar(c)) {
		value_begin(parser);
		parser->token = TOKEN_SCALAR;
		text_add(parser, &c, 1);
		return 0;
	}
	return bad(parser, "a value was expected");
}

/* The run of bytes at @at that a string or scalar swallows whole; at least none. */
static size_t token_run(const struct json_items *parser, const char *at, size_t left)
{
	size_t n = 0;

	if (parser->token == TOKEN_STRING) {
		while (n < left && at[n] != '"' && at[n] != '\\')
			n++;
	} else {
		while (n < left && is_scalar(at[n]))
			n++;
	}
	return n;
}

/* The item's bytes since @from, of which the chunk holds up to @to, to the item's buffer. */
static int item_flush(struct json_items *parser, const char *from, const char *to)
{
	return from && to > from ? item_add(parser, from, (size_t)(to - from)) : 0;
}

/* Scans one chunk. @ret_at is where it stopped. */
static int scan(struct json_items *parser, const char *bytes, size_t len, const char **ret_at)
{
	const char *at = bytes, *end = bytes + len;
	const char *from = parser->in_item ? bytes : NULL;
	int err = 0;

	while (at < end && err == 0) {
		const char *step = at;

		if (parser->token == TOKEN_STRING || parser->token == TOKEN_SCALAR) {
			size_t run = token_run(parser, at, (size_t)(end - at));

			text_add(parser, at, run);
			at += run;
			if (at == end)
				break;
			if (parser->token == TOKEN_SCALAR) {
				err = scalar_end(parser); /* its end is not a byte of its own */
			} else if (*at == '\\') {
				parser->token = TOKEN_ESCAPE;
				/* No key or value that matters is written with escapes. */
				parser->text_cut = true;
				at++;
			} else {
				err = string_end(parser);
				if (err == 0)
					at++;
			}
		} else if (parser->token == TOKEN_ESCAPE) {
			parser->token = TOKEN_STRING;
			at++;
		} else if (is_space(*at)) {
			at++;
		} else {
			err = parser->below > 0 ? below_byte(parser, *at) :
						  structure_byte(parser, *at);
			if (err == 0)
				at++;
		}
		if (parser->in_item && !from)
			from = step;
		/* Back in the array with nothing open: the item ended before @at. */
		if (err == 0 && parser->in_item && parser->expect == EXPECT_COMMA_OR_END &&
		    parser->depth == ITEMS_DEPTH && parser->token == TOKEN_NONE &&
		    parser->below == 0) {
			err = item_flush(parser, from, at);
			if (err == 0)
				err = item_end(parser);
			from = NULL;
		}
	}
	if (err == 0 && parser->in_item)
		err = item_flush(parser, from, at);
	*ret_at = at;
	return err;
}

int json_items_feed(struct json_items *parser, const char *bytes, size_t len)
{
	size_t room = parser->limits.body_bytes - parser->stats.bytes;
	const char *at;
	int err;

	if (parser->err < 0)
		return parser->err;
	err = scan(parser, bytes, len < room ? len : room, &at);
	parser->stats.bytes += (size_t)(at - bytes);
	if (err < 0)
		parser->stats.complete = false;
	else if (len > room)
		err = fail(parser, -EFBIG, "longer than the cap on a body");
	return err;
}

int json_items_finish(struct json_items *parser)
{
	if (parser->err < 0)
		return parser->err;
	if (!parser->stats.complete)
		return bad(parser, "truncated");
	if (!parser->had_items)
		return bad(parser, "no items");
	return 0;
}
