// SPDX-License-Identifier: Apache-2.0
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/thread.h"

/* About 2,000 log lines: some seconds of a bad night. */
#define QUEUE_BYTES (256 * 1024)

enum message_kind {
	MESSAGE_LOG,
	MESSAGE_FILE,
	MESSAGE_REMOVE
};

/* In the queue: this header, then path_len bytes of path with its NUL, then data_len bytes. */
struct message {
	enum message_kind kind;
	uint32_t path_len, data_len;
	int64_t ticket;
};

struct writer {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t ready; /* a message, or the end */
	pthread_cond_t idle; /* queue empty and nothing being written */
	char *queue; /* ring of bytes */
	size_t head, used; /* of QUEUE_BYTES */
	uint64_t n_queued;
	int64_t last_ticket, done_ticket;
	bool busy, ending;
	int event_fd;
	struct writer_stats stats;
	/* The message being written, copied out so that the lock is not held meanwhile. */
	struct message message;
	char *path, *data;
};

static void ring_put(struct writer *writer, const void *data, size_t len)
{
	size_t at = (writer->head + writer->used) % QUEUE_BYTES, first = QUEUE_BYTES - at;

	if (len == 0)
		return; /* @data may be NULL, which memcpy() must not be given */
	if (first > len)
		first = len;
	memcpy(writer->queue + at, data, first);
	memcpy(writer->queue, (const char *)data + first, len - first);
	writer->used += len;
}

static void ring_take(struct writer *writer, void *data, size_t len)
{
	size_t first = QUEUE_BYTES - writer->head;

	if (first > len)
		first = len;
	memcpy(data, writer->queue + writer->head, first);
	memcpy((char *)data + first, writer->queue, len - first);
	writer->head = (writer->head + len) % QUEUE_BYTES;
	writer->used -= len;
}

static int64_t submit(struct writer *writer, enum message_kind kind, const char *path,
		      const char *data, size_t len)
{
	struct message message = {
		.kind = kind,
		.path_len = path ? (uint32_t)strlen(path) + 1 : 0,
		.data_len = (uint32_t)len,
	};
	int64_t ticket = -ENOSPC;

	pthread_mutex_lock(&writer->lock);
	if (len > QUEUE_BYTES ||
	    sizeof(message) + message.path_len + len > QUEUE_BYTES - writer->used) {
		writer->stats.dropped++;
	} else {
		if (kind != MESSAGE_LOG)
			writer->last_ticket++;
		ticket = writer->last_ticket;
		message.ticket = ticket;
		ring_put(writer, &message, sizeof(message));
		ring_put(writer, path, message.path_len);
		ring_put(writer, data, len);
		writer->n_queued++;
		pthread_cond_signal(&writer->ready);
	}
	pthread_mutex_unlock(&writer->lock);
	return ticket;
}

void writer_log(const char *line, size_t len, void *writer)
{
	submit(writer, MESSAGE_LOG, NULL, line, len);
}

int64_t writer_put_file(struct writer *writer, const char *path, const char *data, size_t len)
{
	return submit(writer, data ? MESSAGE_FILE : MESSAGE_REMOVE, path, data ? data : "",
		      data ? len : 0);
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int replace_file(const char *path, const char *data, size_t len)
{
	char temporary[PATH_MAX];
	clean_close int fd = -1;
	int err;

	if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
		return -ENAMETOOLONG;
	fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	err = write_all(fd, data, len);
	if (err == 0 && fsync(fd) < 0)
		err = -errno;
	if (err == 0 && rename(temporary, path) < 0)
		err = -errno;
	if (err < 0)
		unlink(temporary);
	return err;
}

static int perform(struct writer *writer)
{
	const struct message *message = &writer->message;

	switch (message->kind) {
	case MESSAGE_LOG:
		return write_all(STDERR_FILENO, writer->data, message->data_len);
	case MESSAGE_FILE:
		return replace_file(writer->path, writer->data, message->data_len);
	case MESSAGE_REMOVE:
		return unlink(writer->path) < 0 && errno != ENOENT ? -errno : 0;
	}
	return -EINVAL;
}

static void *writer_main(void *data)
{
	struct writer *writer = data;

	pthread_mutex_lock(&writer->lock);
	for (;;) {
		uint64_t one = 1;
		int err;

		while (writer->used == 0 && !writer->ending)
			pthread_cond_wait(&writer->ready, &writer->lock);
		if (writer->used == 0)
			break;
		ring_take(writer, &writer->message, sizeof(writer->message));
		ring_take(writer, writer->path, writer->message.path_len);
		ring_take(writer, writer->data, writer->message.data_len);
		writer->busy = true;
		pthread_mutex_unlock(&writer->lock);

		err = perform(writer);

		pthread_mutex_lock(&writer->lock);
		writer->busy = false;
		writer->n_queued--;
		writer->stats.failed += err < 0;
		if (writer->message.kind != MESSAGE_LOG) {
			writer->done_ticket = writer->message.ticket;
			if (write(writer->event_fd, &one, sizeof(one)) < 0)
				writer->stats.failed++;
		}
		if (writer->used == 0)
			pthread_cond_broadcast(&writer->idle);
	}
	pthread_cond_broadcast(&writer->idle);
	pthread_mutex_unlock(&writer->lock);
	return NULL;
}

static void release(struct writer *writer)
{
	if (writer->event_fd >= 0)
		close(writer->event_fd);
	free(writer->queue);
	free(writer->path);
	free(writer->data);
	free(writer);
}

int writer_new(struct writer **ret_writer)
{
	struct writer *writer;
	pthread_condattr_t attr;
	int err;

	writer = calloc(1, sizeof(*writer));
	if (!writer)
		return -ENOMEM;
	writer->queue = malloc(QUEUE_BYTES);
	writer->path = malloc(QUEUE_BYTES);
	writer->data = malloc(QUEUE_BYTES);
	writer->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (!writer->queue || !writer->path || !writer->data || writer->event_fd < 0) {
		err = writer->event_fd < 0 ? -errno : -ENOMEM;
		release(writer);
		return err;
	}
	pthread_mutex_init(&writer->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&writer->ready, &attr);
	pthread_cond_init(&writer->idle, &attr);
	pthread_condattr_destroy(&attr);
	err = thread_start("pidwarden-write", writer_main, writer, NULL, 0, &writer->thread);
	if (err < 0) {
		release(writer);
		return err;
	}
	*ret_writer = writer;
	return 0;
}

void writer_free(struct writer *writer, int64_t grace_ms)
{
	struct timespec until;
	bool done;
	int err = 0;

	if (!writer)
		return;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += grace_ms / 1000;
	until.tv_nsec += grace_ms % 1000 * 1000000;
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	pthread_mutex_lock(&writer->lock);
	writer->ending = true;
	pthread_cond_signal(&writer->ready);
	while ((writer->used > 0 || writer->busy) && err == 0)
		err = pthread_cond_timedwait(&writer->idle, &writer->lock, &until);
	done = writer->used == 0 && !writer->busy;
	pthread_mutex_unlock(&writer->lock);
	if (!done)
		return; /* still in write(2): its memory must stay */
	pthread_join(writer->thread, NULL);
	pthread_cond_destroy(&writer->ready);
	pthread_cond_destroy(&writer->idle);
	pthread_mutex_destroy(&writer->lock);
	release(writer);
}

int64_t writer_done_ticket(struct writer *writer)
{
	int64_t ticket;

	pthread_mutex_lock(&writer->lock);
	ticket = writer->done_ticket;
	pthread_mutex_unlock(&writer->lock);
	return ticket;
}

int writer_event_fd(const struct writer *writer)
{
	return writer->event_fd;
}

void writer_take_event(struct writer *writer)
{
	uint64_t count;

	if (read(writer->event_fd, &count, sizeof(count)) < 0)
		return; /* nobody wrote since: EAGAIN */
}

void writer_stats(struct writer *writer, struct writer_stats *ret_stats)
{
	pthread_mutex_lock(&writer->lock);
	*ret_stats = writer->stats;
	ret_stats->queued = writer->n_queued;
	pthread_mutex_unlock(&writer->lock);
}
