/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The thread that owns the disk: log lines and small state files go through its bounded queue, so
 * that a slow disk or a blocked stderr never stops the loop.
 * Refuses: to make the caller wait. What does not fit is dropped and counted.
 */
#ifndef PIDWARDEN_WRITER_H
#define PIDWARDEN_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct writer;

struct writer_stats {
	uint64_t queued; /* messages waiting */
	uint64_t dropped; /* messages lost to a full queue */
	uint64_t failed; /* writes that the kernel refused */
};

/* Starts the thread. */
int writer_new(struct writer **ret_writer);
/* Writes what is queued, waits at most @grace_ms for it, and ends the thread. A write that hangs
 * longer is left hanging: the process exits over it. */
void writer_free(struct writer *writer, int64_t grace_ms);

/* Safe from every thread. @line with its newline. */
void writer_log(const char *line, size_t len, void *writer);

/*
 * Replaces @path by @data (temporary file, then rename, so that a reader never sees half of it).
 * @data NULL removes it. Returns the ticket of the message, or -ENOSPC when the queue is full.
 */
int64_t writer_put_file(struct writer *writer, const char *path, const char *data, size_t len);
/* The highest ticket that is on disk (or has failed: see stats). */
int64_t writer_done_ticket(struct writer *writer);
/* Readable after a file was written; writer_take_event() makes it quiet again. */
int writer_event_fd(const struct writer *writer);
void writer_take_event(struct writer *writer);

void writer_stats(struct writer *writer, struct writer_stats *ret_stats);

#endif
