// SPDX-License-Identifier: Apache-2.0
#include "show/http_text.h"

#include <errno.h>
#include <stdlib.h>

/* Versions that a reader may fall behind: at a tick of 1 s about 4 s for one answer. */
#define HTTP_TEXT_BEHIND 4

struct http_body {
	struct http_text *text;
	unsigned int refs; /* one of them the text's own while it is current */
	uint64_t sequence;
	struct buf plain;
};

struct http_text {
	size_t max;
	uint64_t sequence; /* of the current version */
	struct http_body *current;
	struct http_body *draft;
	struct http_body *spare; /* read by nobody, kept for its memory */
};

int http_text_new(size_t max, struct http_text **ret_text)
{
	struct http_text *text = calloc(1, sizeof(*text));

	if (!text)
		return -ENOMEM;
	text->max = max;
	*ret_text = text;
	return 0;
}

static void body_free(struct http_body *body)
{
	if (!body)
		return;
	buf_done(&body->plain);
	free(body);
}

void http_text_free(struct http_text *text)
{
	if (!text)
		return;
	body_free(text->current);
	body_free(text->draft);
	body_free(text->spare);
	free(text);
}

struct buf *http_text_begin(struct http_text *text)
{
	if (!text->draft) {
		text->draft = text->spare;
		text->spare = NULL;
	}
	if (!text->draft) {
		text->draft = calloc(1, sizeof(*text->draft));
		if (!text->draft)
			return NULL;
		text->draft->text = text;
		buf_init(&text->draft->plain, text->max);
	}
	buf_reset(&text->draft->plain);
	return &text->draft->plain;
}

int http_text_publish(struct http_text *text)
{
	struct http_body *old = text->current;

	if (!text->draft)
		return -EINVAL;
	if (text->draft->plain.err < 0)
		return text->draft->plain.err;
	text->current = text->draft;
	text->draft = NULL;
	text->current->sequence = ++text->sequence;
	http_body_ref(text->current);
	http_body_unref(old);
	return 0;
}

struct http_body *http_text_current(struct http_text *text)
{
	return text->current;
}

struct http_body *http_body_ref(struct http_body *body)
{
	body->refs++;
	return body;
}

void http_body_unref(struct http_body *body)
{
	if (!body || --body->refs > 0)
		return;
	if (body->text->spare)
		body_free(body);
	else
		body->text->spare = body;
}

const struct buf *http_body_plain(const struct http_body *body)
{
	return &body->plain;
}

bool http_body_is_stale(const struct http_body *body)
{
	return body->text->sequence - body->sequence > HTTP_TEXT_BEHIND;
}
