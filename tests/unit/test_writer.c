// SPDX-License-Identifier: Apache-2.0
/* The writer against real files and a pipe that nobody reads: it must never make its caller wait. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "writer.h"

static void wait_ticket(struct writer *writer, int64_t ticket)
{
	for (int i = 0; i < 5000 && writer_done_ticket(writer) < ticket; i++)
		usleep(1000);
	assert_true(writer_done_ticket(writer) >= ticket);
}

static void test_files(void **state)
{
	char dir[] = "/tmp/pidwarden-writer-XXXXXX", path[64], text[64];
	struct pollfd event;
	struct writer_stats stats;
	struct writer *writer;
	int64_t ticket;
	FILE *file;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/record.json", dir);
	assert_int_equal(writer_new(&writer), 0);
	ticket = writer_put_file(writer, path, "one\n", 4);
	assert_true(ticket > 0);
	ticket = writer_put_file(writer, path, "two\n", 4);
	wait_ticket(writer, ticket);
	file = fopen(path, "re");
	assert_non_null(file);
	assert_non_null(fgets(text, sizeof(text), file));
	fclose(file);
	assert_string_equal(text, "two\n");
	event = (struct pollfd){ .fd = writer_event_fd(writer), .events = POLLIN };
	assert_int_equal(poll(&event, 1, 1000), 1);
	writer_take_event(writer);
	assert_int_equal(poll(&event, 1, 0), 0);

	/* No temporary file stays, and removing twice is no failure. */
	wait_ticket(writer, writer_put_file(writer, path, NULL, 0));
	wait_ticket(writer, writer_put_file(writer, path, NULL, 0));
	assert_int_equal(rmdir(dir), 0);
	writer_stats(writer, &stats);
	assert_int_equal(stats.failed, 0);

	/* A directory that is not there: a failure that is counted, and a ticket that is done. */
	wait_ticket(writer, writer_put_file(writer, path, "x", 1));
	writer_stats(writer, &stats);
	assert_int_equal(stats.failed, 1);
	writer_free(writer, 1000);
}

/* stderr is a full pipe: lines queue up, then are dropped and counted; nobody waits. */
static void test_blocked_stderr(void **state)
{
	char line[512];
	struct writer_stats stats;
	struct writer *writer;
	int pipes[2], saved;
	int64_t before_ms;
	size_t total = 0;

	(void)state;
	memset(line, 'x', sizeof(line));
	line[sizeof(line) - 1] = '\n';
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	saved = dup(STDERR_FILENO);
	dup2(pipes[1], STDERR_FILENO);
	assert_int_equal(writer_new(&writer), 0);
	before_ms = clock_mono_ms();
	for (int i = 0; i < 10000; i++)
		writer_log(line, sizeof(line), writer);
	assert_true(clock_mono_ms() - before_ms < 2000);
	writer_stats(writer, &stats);
	assert_true(stats.dropped > 9000);
	/* The reader comes back: what was queued arrives whole, in 512-byte lines. */
	fcntl(pipes[0], F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 3000; i++) {
		char read_back[65536];
		ssize_t n;

		/* Before the read: what was written by then is in the pipe. */
		writer_stats(writer, &stats);
		while ((n = read(pipes[0], read_back, sizeof(read_back))) > 0)
			total += (size_t)n;
		if (stats.queued == 0)
			break;
		usleep(1000);
	}
	writer_stats(writer, &stats);
	dup2(saved, STDERR_FILENO);
	close(saved);
	assert_int_equal(stats.queued, 0);
	assert_int_equal(total, (10000 - stats.dropped) * sizeof(line));
	writer_free(writer, 1000);
	close(pipes[0]);
	close(pipes[1]);
}

/* What was queued before the end is written before the end. */
static void test_end_flushes(void **state)
{
	char path[] = "/tmp/pidwarden-writer-XXXXXX", name[64];
	struct writer *writer;
	struct stat st;
	int fd;

	(void)state;
	fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(writer_new(&writer), 0);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "%d\n", i);
		assert_true(writer_put_file(writer, path, name, strlen(name)) > 0);
	}
	writer_free(writer, 10000);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 3); /* "99\n" */
	unlink(path);
	writer_free(NULL, 0);
}

static void test_too_large(void **state)
{
	char *large = calloc(1, 1 << 20);
	struct writer_stats stats;
	struct writer *writer;

	(void)state;
	assert_non_null(large);
	assert_int_equal(writer_new(&writer), 0);
	assert_int_equal(writer_put_file(writer, "/nonexistent/x", large, 1 << 20), -ENOSPC);
	writer_stats(writer, &stats);
	assert_int_equal(stats.dropped, 1);
	writer_free(writer, 1000);
	free(large);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files),
		cmocka_unit_test(test_blocked_stderr),
		cmocka_unit_test(test_end_flushes),
		cmocka_unit_test(test_too_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
