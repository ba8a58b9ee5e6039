/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A raw HTTP client for tests: it sends bytes as given and turns the server's loop itself, since
 * both live in one thread.
 */
#ifndef PIDWARDEN_TESTS_HTTP_CLIENT_H
#define PIDWARDEN_TESTS_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/loop.h"

/* A non-blocking connection to @host, or -1. @receive_bytes: SO_RCVBUF, 0 the kernel's. */
static inline int client_connect(const char *host, uint16_t port, int receive_bytes)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	bool v6 = inet_pton(AF_INET6, host, &in6.sin6_addr) == 1;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (receive_bytes > 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof(receive_bytes));
	inet_pton(AF_INET, host, &in4.sin_addr);
	if (connect(fd, v6 ? (struct sockaddr *)&in6 : (struct sockaddr *)&in4,
		    v6 ? sizeof(in6) : sizeof(in4)) < 0) {
		close(fd);
		return -1;
	}
	return fd;
}

static inline void client_turn(struct loop *loop, int64_t ms)
{
	int64_t end_ms = clock_mono_ms() + ms;

	do {
		loop_run_once(loop, 5);
	} while (clock_mono_ms() < end_ms);
}

/* Reads what is there until @ms pass or the server closes, which is what it returns. */
static inline bool client_read(struct loop *loop, int fd, struct buf *out, int64_t ms)
{
	int64_t end_ms = clock_mono_ms() + ms;
	char data[65536];

	for (;;) {
		ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

		if (n > 0)
			buf_add(out, data, (size_t)n);
		else if (n == 0 || (errno != EAGAIN && errno != EINTR))
			return true;
		else if (clock_mono_ms() >= end_ms)
			return false;
		else
			loop_run_once(loop, 5);
	}
}

/* Sends @len bytes on a connection of its own and collects the answer until the server closes it.
 * False when it has not within 3 s. */
static inline bool client_exchange(struct loop *loop, uint16_t port, const void *request,
				   size_t len, struct buf *out)
{
	int fd = client_connect("127.0.0.1", port, 0);
	const char *at = request;
	bool closed;

	buf_reset(out);
	if (fd < 0)
		return false;
	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n > 0) {
			at += n;
			len -= (size_t)n;
		} else if (errno != EAGAIN) {
			break;
		}
		loop_run_once(loop, 0);
	}
	closed = client_read(loop, fd, out, 3000);
	close(fd);
	return closed;
}

/* The status of the (first) answer, 0 when there is none. */
static inline int client_status(const struct buf *answer)
{
	if (answer->len < 12 || strncmp(answer->data, "HTTP/1.", 7) != 0)
		return 0;
	return atoi(answer->data + 9);
}

static inline const char *client_body(const struct buf *answer)
{
	const char *end = answer->len > 0 ? strstr(answer->data, "\r\n\r\n") : NULL;

	return end ? end + 4 : "";
}

/* GET @path with Connection: close. */
static inline int client_get(struct loop *loop, uint16_t port, const char *path, struct buf *out)
{
	struct buf request;
	bool closed;

	buf_init(&request, 0);
	buf_printf(&request, "GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n", path);
	closed = client_exchange(loop, port, request.data, request.len, out);
	buf_done(&request);
	return closed ? client_status(out) : 0;
}

#endif
