// SPDX-License-Identifier: Apache-2.0
/*
 * Writes what documents say about options and metrics, from the tables that the agent itself uses:
 * "docgen SOURCE_DIR" brings README.md, docs/metrics.md and manifests/config.yaml up to date.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clean.h"
#include "base/parse.h"
#include "options_doc.h"
#include "show/metrics.h"

#define FILE_MAX (4 << 20)

static int write_file(const char *path, const struct buf *text)
{
	clean_file FILE *file = NULL;

	if (text->err < 0)
		return text->err;
	file = fopen(path, "we");
	if (!file || fwrite(text->data, 1, text->len, file) != text->len || fflush(file) != 0)
		return -errno;
	return 0;
}

/* Puts @inner between the lines @begin and @end of the text. */
static int replace_between(struct buf *text, const char *begin, const char *end,
			   const struct buf *inner)
{
	char *from = strstr(text->data, begin), *to = strstr(text->data, end);
	struct buf out;

	if (!from || !to || to < from)
		return -ENOENT;
	from += strlen(begin);
	buf_init(&out, 0);
	buf_add(&out, text->data, (size_t)(from - text->data));
	buf_add(&out, inner->data, inner->len);
	buf_str(&out, to);
	buf_done(text);
	*text = out;
	return out.err;
}

static int write_readme(const char *path)
{
	clean_free char *data = malloc(FILE_MAX);
	struct buf text, options, metrics;
	int err, len;

	if (!data)
		return -ENOMEM;
	len = read_small_file(AT_FDCWD, path, data, FILE_MAX);
	if (len < 0)
		return len;
	buf_init(&text, 0);
	buf_init(&options, 0);
	buf_init(&metrics, 0);
	buf_add(&text, data, (size_t)len);
	options_doc_write_table(&options);
	metrics_write_table(&metrics);
	err = text.err;
	if (err == 0)
		err = replace_between(&text, OPTIONS_DOC_BEGIN, OPTIONS_DOC_END, &options);
	if (err == 0)
		err = replace_between(&text, METRICS_DOC_BEGIN, METRICS_DOC_END, &metrics);
	if (err == 0)
		err = write_file(path, &text);
	buf_done(&text);
	buf_done(&options);
	buf_done(&metrics);
	return err;
}

static int write_made(const char *path, void (*make)(struct buf *out))
{
	struct buf text;
	int err;

	buf_init(&text, 0);
	make(&text);
	err = write_file(path, &text);
	buf_done(&text);
	return err;
}

int main(int argc, char *argv[])
{
	static const char *const names[] = { "README.md", "docs/metrics.md",
					     "manifests/config.yaml" };
	char path[4096];

	if (argc != 2) {
		fprintf(stderr, "usage: docgen SOURCE_DIR\n");
		return 2;
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		int err;

		snprintf(path, sizeof(path), "%s/%s", argv[1], names[i]);
		err = i == 0 ? write_readme(path) :
			       write_made(path,
					  i == 1 ? metrics_write_doc : options_doc_write_config);
		if (err < 0) {
			fprintf(stderr, "docgen: %s: %s\n", path, strerror(-err));
			return 1;
		}
	}
	return 0;
}
