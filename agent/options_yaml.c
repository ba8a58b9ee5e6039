// SPDX-License-Identifier: Apache-2.0
#include "options_yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/clean.h"

/* The shipped file with every option is 4 KiB. */
#define FILE_MAX_BYTES 65536

struct reader {
	const char *path;
	yaml_parser_t parser;
	yaml_event_t event;
	struct buf *message;
	struct buf why; /* of the callback */
};

static void event_done(yaml_event_t *event)
{
	yaml_event_delete(event);
	memset(event, 0, sizeof(*event));
}

static void reader_done(struct reader *reader)
{
	event_done(&reader->event);
	yaml_parser_delete(&reader->parser);
	buf_done(&reader->why);
}

static void write_path(const struct reader *reader)
{
	buf_printable(reader->message, reader->path);
}

static int fail_at(const struct reader *reader, const yaml_mark_t *mark, const char *reason)
{
	write_path(reader);
	buf_printf(reader->message, ":%zu:%zu: %s", mark->line + 1, mark->column + 1, reason);
	return -EINVAL;
}

/* Errors of encoding carry a byte offset and no mark. */
static int fail_at_offset(const struct reader *reader, const char *data, size_t offset,
			  const char *reason)
{
	yaml_mark_t mark = { 0 };

	for (size_t i = 0; i < offset; i++) {
		mark.column++;
		if (data[i] == '\n') {
			mark.line++;
			mark.column = 0;
		}
	}
	return fail_at(reader, &mark, reason);
}

static int fail_file(const struct reader *reader, int err, const char *reason)
{
	write_path(reader);
	buf_printf(reader->message, ": %s", reason);
	return err;
}

static int next_event(struct reader *reader, const char *data, size_t len)
{
	const yaml_parser_t *parser = &reader->parser;
	const char *problem;

	event_done(&reader->event);
	if (yaml_parser_parse(&reader->parser, &reader->event))
		return 0;
	problem = parser->problem ? parser->problem : "is not YAML";
	if (parser->error == YAML_MEMORY_ERROR)
		return fail_file(reader, -ENOMEM, "no memory to read it");
	if (parser->error == YAML_READER_ERROR)
		return fail_at_offset(reader, data,
				      parser->problem_offset < len ? parser->problem_offset : len,
				      problem);
	return fail_at(reader, &parser->problem_mark, problem);
}

/* What holds for every node, key or value. */
static int check_scalar(const struct reader *reader, const char *what_else)
{
	const yaml_event_t *event = &reader->event;
	const yaml_mark_t *mark = &event->start_mark;

	if (event->type == YAML_ALIAS_EVENT)
		return fail_at(reader, mark, "aliases (*) are not allowed here");
	if (event->type != YAML_SCALAR_EVENT)
		return fail_at(reader, mark, what_else);
	if (event->data.scalar.anchor)
		return fail_at(reader, mark, "anchors (&) are not allowed here");
	if (event->data.scalar.tag)
		return fail_at(reader, mark, "tags (!) are not allowed here");
	if (memchr(event->data.scalar.value, '\0', event->data.scalar.length))
		return fail_at(reader, mark, "holds a NUL character");
	return 0;
}

/* One key, whose event is at hand, and its value. */
static int read_item(struct reader *reader, options_yaml_fn fn, void *fn_data, const char *data,
		     size_t len)
{
	struct options_yaml_item item = { 0 };
	yaml_mark_t key_mark = reader->event.start_mark;
	clean_free char *key = NULL;
	int err;

	err = check_scalar(reader, "a key must be the name of an option");
	if (err < 0)
		return err;
	key = strdup((const char *)reader->event.data.scalar.value);
	if (!key)
		return fail_file(reader, -ENOMEM, "no memory to read it");
	err = next_event(reader, data, len);
	if (err < 0)
		return err;
	err = check_scalar(reader, reader->event.type == YAML_SEQUENCE_START_EVENT ?
					   "needs one value, not a list" :
					   "needs one value, not a map");
	if (err < 0)
		return err;
	item.key = key;
	item.value = (const char *)reader->event.data.scalar.value;
	item.quoted = reader->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	item.line = key_mark.line + 1;
	buf_reset(&reader->why);
	err = fn(&item, fn_data, &reader->why);
	if (err < 0)
		fail_at(reader, item.blame_key ? &key_mark : &reader->event.start_mark,
			reader->why.data ? reader->why.data : "is refused");
	return err;
}

static int read_document(struct reader *reader, options_yaml_fn fn, void *fn_data, const char *data,
			 size_t len)
{
	const yaml_event_t *event = &reader->event;
	int err = next_event(reader, data, len);

	if (err < 0)
		return err;
	/* "---" and nothing after it */
	if (event->type == YAML_SCALAR_EVENT && event->data.scalar.length == 0 &&
	    event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && !event->data.scalar.anchor &&
	    !event->data.scalar.tag)
		return next_event(reader, data, len);
	if (event->type != YAML_MAPPING_START_EVENT)
		return fail_at(reader, &event->start_mark,
			       "must be a map: lines of \"key: value\"");
	if (event->data.mapping_start.anchor)
		return fail_at(reader, &event->start_mark, "anchors (&) are not allowed here");
	if (event->data.mapping_start.tag)
		return fail_at(reader, &event->start_mark, "tags (!) are not allowed here");
	while ((err = next_event(reader, data, len)) == 0 &&
	       event->type != YAML_MAPPING_END_EVENT) {
		err = read_item(reader, fn, fn_data, data, len);
		if (err < 0)
			return err;
	}
	return err < 0 ? err : next_event(reader, data, len); /* the document's end */
}

static int read_stream(struct reader *reader, options_yaml_fn fn, void *fn_data, const char *data,
		       size_t len)
{
	const yaml_event_t *event = &reader->event;
	size_t documents = 0;
	int err;

	while ((err = next_event(reader, data, len)) == 0 && event->type != YAML_STREAM_END_EVENT) {
		if (event->type != YAML_DOCUMENT_START_EVENT)
			continue; /* the stream's start */
		if (documents++ > 0)
			return fail_at(reader, &event->start_mark, "a second document begins here");
		err = read_document(reader, fn, fn_data, data, len);
		if (err < 0)
			return err;
	}
	return err;
}

/* The length, or -errno with a message. Not read_small_file(): that would open a FIFO and wait, and
 * cut a file that is too long. */
static ssize_t read_file(const struct reader *reader, char *data, size_t size)
{
	clean_close int fd = open(reader->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	size_t len = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail_file(reader, -EINVAL, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail_file(reader, -EINVAL, "is not a regular file");
	while (len < size) {
		ssize_t n = read(fd, data + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail_file(reader, -EINVAL, strerror(errno));
		if (n == 0)
			return (ssize_t)len;
		len += (size_t)n;
	}
	return fail_file(reader, -EINVAL, "is larger than 64 KiB");
}

int options_yaml_read(const char *path, options_yaml_fn fn, void *data, struct buf *message)
{
	__attribute__((cleanup(reader_done))) struct reader reader = {
		.path = path,
		.message = message,
	};
	clean_free char *bytes = NULL;
	ssize_t len;

	bytes = malloc(FILE_MAX_BYTES + 1);
	if (!bytes || !yaml_parser_initialize(&reader.parser))
		return fail_file(&reader, -ENOMEM, "no memory to read it");
	len = read_file(&reader, bytes, FILE_MAX_BYTES + 1);
	if (len < 0)
		return (int)len;
	/* Said, not guessed: libyaml would take two stray bytes at the start for UTF-16. */
	yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)bytes, (size_t)len);
	return read_stream(&reader, fn, data, bytes, (size_t)len);
}
