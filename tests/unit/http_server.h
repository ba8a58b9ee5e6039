/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small HTTP server in a process of its own that plays a kubelet's good and bad behaviour, as
 * the test sets it in shared memory. One process a connection; all die with the test.
 */
#ifndef PIDWARDEN_TESTS_HTTP_SERVER_H
#define PIDWARDEN_TESTS_HTTP_SERVER_H

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum server_mode {
	SERVER_BODY, /* status and body as set */
	SERVER_CHUNKED, /* the same in chunks of 7 bytes */
	SERVER_ECHO, /* the request itself as the body */
	SERVER_HANG, /* says nothing */
	SERVER_HALF, /* half of the body, then closes */
	SERVER_CLOSE, /* closes at once */
	SERVER_GARBAGE, /* not HTTP */
	SERVER_HEADERS, /* headers without end */
	SERVER_REDIRECT, /* to another port */
	SERVER_HOSTILE, /* see server_hostile() */
};

struct server_shared {
	_Atomic int mode;
	_Atomic int status;
	_Atomic int requests;
	_Atomic int connections;
	_Atomic size_t hostile_bytes;
	_Atomic int hostile_kind;
	char extra_header[128]; /* with CRLF */
	size_t body_len;
	char body[1 << 20];
};

struct server {
	struct server_shared *shared;
	pid_t child;
	int port;
	char url[64];
};

static inline bool server_send(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		bytes += n;
		len -= (size_t)n;
	}
	return true;
}

/* A list of hostile_bytes without an end to be seen before, of one of several kinds. */
static inline void server_hostile(int fd, const struct server_shared *shared)
{
	static const struct {
		const char *head, *piece, *tail;
	} kinds[] = {
		/* one item of numbers */
		{ "{\"kind\":\"PodList\",\"items\":[[1", ",1", "]]}" },
		/* items of 19,000 values, each just below the cap */
		{ "{\"kind\":\"PodList\",\"items\":[", NULL, "[]]}" },
		/* one string */
		{ "{\"kind\":\"PodList\",\"items\":[{\"a\":\"", "xxxxxxxx", "\"}]}" },
		/* tiny items */
		{ "{\"kind\":\"PodList\",\"items\":[{}", ",{}", "]}" },
		/* keys of the list's own */
		{ "{\"kind\":\"PodList\",\"a\":\"", "yyyy", "\",\"items\":[]}" },
		/* white space */
		{ "{\"kind\":\"PodList\",\"items\":[", "   \n", "]}" },
		/* depth */
		{ "{\"kind\":\"PodList\",\"items\":[", "[", "" },
		/* pods with 64 containers each, different uids */
		{ "{\"kind\":\"PodList\",\"items\":[", NULL, "{}]}" },
	};
	static char block[1 << 16];
	int kind = shared->hostile_kind;
	size_t sent = strlen(kinds[kind].head), len = 0;
	unsigned int uid = 0;
	char head[128];

	snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n%s",
		 kinds[kind].head);
	if (!server_send(fd, head, strlen(head)))
		return;
	while (sent < shared->hostile_bytes) {
		len = 0;
		if (kinds[kind].piece) {
			size_t piece = strlen(kinds[kind].piece);

			for (; len + piece <= sizeof(block); len += piece)
				memcpy(block + len, kinds[kind].piece, piece);
		} else if (kind == 1) {
			block[len++] = '[';
			for (int i = 0; i < 19000; i++) {
				block[len++] = '1';
				block[len++] = ',';
			}
			len += (size_t)sprintf(block + len, "1],");
		} else {
			len += (size_t)sprintf(block,
					       "{\"metadata\":{\"uid\":\"%u\",\"namespace\":\"n\","
					       "\"name\":\"p%u\"},\"spec\":{\"containers\":[",
					       uid, uid);
			uid++;
			for (int i = 0; i < 64; i++)
				len += (size_t)sprintf(block + len, "%s{\"name\":\"c%d\"}",
						       i > 0 ? "," : "", i);
			len += (size_t)sprintf(block + len, "]}},");
		}
		if (!server_send(fd, block, len))
			return;
		sent += len;
	}
	server_send(fd, kinds[kind].tail, strlen(kinds[kind].tail));
}

static inline void server_body(int fd, const struct server_shared *shared, const char *body,
			       size_t len)
{
	char head[512];

	snprintf(head, sizeof(head), "HTTP/1.1 %d X\r\nContent-Length: %zu\r\n%s\r\n",
		 shared->status, len, shared->extra_header);
	if (server_send(fd, head, strlen(head)))
		server_send(fd, body, shared->mode == SERVER_HALF ? len / 2 : len);
}

/* One request was read whole. False: close. */
static inline bool server_answer(int fd, struct server_shared *shared, const char *request)
{
	char piece[32];
	int mode = shared->mode;

	shared->requests++;
	switch (mode) {
	case SERVER_BODY:
		server_body(fd, shared, shared->body, shared->body_len);
		return true;
	case SERVER_ECHO:
		server_body(fd, shared, request, strlen(request));
		return true;
	case SERVER_CHUNKED:
		server_send(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 47);
		for (size_t at = 0; at < shared->body_len; at += 7) {
			size_t left = shared->body_len - at;
			int n = left < 7 ? (int)left : 7;

			snprintf(piece, sizeof(piece), "%x\r\n%.*s\r\n", (unsigned int)n, n,
				 shared->body + at);
			if (!server_send(fd, piece, strlen(piece)))
				return false;
		}
		return server_send(fd, "0\r\n\r\n", 5);
	case SERVER_HANG:
		pause();
		return false;
	case SERVER_HALF:
		server_body(fd, shared, shared->body, shared->body_len);
		return false;
	case SERVER_GARBAGE:
		server_send(fd, "SSH-2.0-OpenSSH_9.2p1\r\n", 23);
		return false;
	case SERVER_HEADERS:
		if (!server_send(fd, "HTTP/1.1 200 OK\r\n", 17))
			return false;
		while (server_send(fd, "X-Y: zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz\r\n", 44))
			;
		return false;
	case SERVER_REDIRECT:
		server_send(
			fd,
			"HTTP/1.1 302 X\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
			69);
		return true;
	case SERVER_HOSTILE:
		server_hostile(fd, shared);
		return false;
	default:
		return false;
	}
}

static inline void server_connection(int fd, struct server_shared *shared)
{
	static char request[1 << 16];
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, request + len, sizeof(request) - 1 - len, 0);
		char *end, *length;
		size_t whole;

		if (n <= 0)
			return;
		len += (size_t)n;
		request[len] = '\0';
		end = strstr(request, "\r\n\r\n");
		if (!end)
			continue;
		length = strcasestr(request, "\r\nContent-Length: ");
		whole = (size_t)(end + 4 - request) +
			(length && length < end ? (size_t)atol(length + 18) : 0);
		if (len < whole)
			continue;
		if (!server_answer(fd, shared, request))
			return;
		len = 0;
	}
}

static inline void server_run(int listener, struct server_shared *shared)
{
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd < 0)
			_exit(1);
		shared->connections++;
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			alarm(60);
			close(listener);
			server_connection(fd, shared);
			_exit(0);
		}
		close(fd);
	}
}

static inline void server_start(struct server *server)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	server->shared = mmap(NULL, sizeof(*server->shared), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(server->shared, MAP_FAILED);
	server->shared->status = 200;
	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	server->port = ntohs(address.sin_port);
	snprintf(server->url, sizeof(server->url), "http://127.0.0.1:%d", server->port);
	server->child = fork();
	assert_true(server->child >= 0);
	if (server->child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(250);
		server_run(fd, server->shared);
	}
	close(fd);
}

static inline void server_stop(struct server *server)
{
	if (server->child > 0) {
		kill(server->child, SIGKILL);
		waitpid(server->child, NULL, 0);
	}
	munmap(server->shared, sizeof(*server->shared));
}

static inline void server_set(struct server *server, enum server_mode mode, int status,
			      const char *body, size_t len)
{
	assert_true(len <= sizeof(server->shared->body));
	memcpy(server->shared->body, body, len);
	server->shared->body_len = len;
	server->shared->status = status;
	server->shared->extra_header[0] = '\0';
	server->shared->mode = (int)mode;
}

/* A line of /proc/self/status, in its own unit; the kernel is the witness of threads and memory. */
static inline long self_status(const char *key)
{
	FILE *file = fopen("/proc/self/status", "re");
	char line[256];
	long value = -1;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, strlen(key)) == 0)
			value = atol(line + strlen(key) + 1);
	}
	fclose(file);
	return value;
}

#endif
