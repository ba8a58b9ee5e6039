// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"

/* Longer messages are cut, and cut again when escapes made them longer: a line must fit one write
 * to a pipe (PIPE_BUF) to stay whole. */
#define LOG_MESSAGE_MAX 2048

/* Set before the threads start, read by all of them. */
static struct {
	enum log_level level;
	enum log_format format;
	log_sink_fn sink;
	void *data;
} log_state = { .level = LOG_LEVEL_INFO };

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARN] = "warn",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

void log_configure(enum log_level level, enum log_format format)
{
	log_state.level = level;
	log_state.format = format;
}

void log_set_sink(log_sink_fn sink, void *data)
{
	log_state.data = data;
	log_state.sink = sink;
}

bool log_enabled(enum log_level level)
{
	return level <= log_state.level;
}

static void write_stderr(const char *line, size_t len)
{
	while (len > 0) {
		ssize_t n = write(STDERR_FILENO, line, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nowhere left to say so */
		line += n;
		len -= (size_t)n;
	}
}

static void render(struct buf *line, enum log_level level, const struct timespec *now,
		   const char *message)
{
	char when[40];
	struct tm tm;

	gmtime_r(&now->tv_sec, &tm);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm);
	if (log_state.format == LOG_FORMAT_JSON) {
		buf_printf(line, "{\"time\":\"%s.%03ldZ\",\"level\":\"%s\",\"msg\":", when,
			   now->tv_nsec / 1000000, level_names[level]);
		buf_json_string(line, message);
		buf_str(line, "}\n");
	} else {
		buf_printf(line, "%s.%03ldZ %-5s ", when, now->tv_nsec / 1000000,
			   level_names[level]);
		buf_printable(line, message);
		buf_char(line, '\n');
	}
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char message[LOG_MESSAGE_MAX];
	int saved = errno;
	struct timespec now;
	struct buf line;
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	if (vsnprintf(message, sizeof(message), fmt, args) < 0)
		message[0] = '\0';
	va_end(args);

	clock_gettime(CLOCK_REALTIME, &now);
	buf_init(&line, PIPE_BUF);
	render(&line, level, &now, message);
	while (line.err == -EFBIG) {
		message[strlen(message) / 2] = '\0';
		buf_reset(&line);
		render(&line, level, &now, message);
	}
	if (line.err == 0) {
		if (log_state.sink)
			log_state.sink(line.data, line.len, log_state.data);
		else
			write_stderr(line.data, line.len);
	}
	buf_done(&line);
	errno = saved;
}
