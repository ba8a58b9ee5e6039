/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The log: one line an event, as text (logfmt-like) or JSON, with pod-made text made harmless.
 * Refuses: to block. Once a sink is set (the writer thread's queue) no line is written by the
 * caller's thread.
 */
#ifndef PIDWARDEN_BASE_LOG_H
#define PIDWARDEN_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARN,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG
};
enum log_format {
	LOG_FORMAT_TEXT,
	LOG_FORMAT_JSON
};

/* @line ends with a newline and is not NUL-terminated. */
typedef void (*log_sink_fn)(const char *line, size_t len, void *data);

void log_configure(enum log_level level, enum log_format format);
/* NULL returns to writing on stderr directly. */
void log_set_sink(log_sink_fn sink, void *data);
bool log_enabled(enum log_level level);
void log_msg(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_msg(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_msg(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_msg(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_msg(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
