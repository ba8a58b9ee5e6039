// SPDX-License-Identifier: Apache-2.0
#include "serve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clean.h"
#include "base/parse.h"

#define ANSWER_MAX (16 * 1024 * 1024)
#define CONNECTIONS_MAX 64
#define TIMEOUT_S 10

struct serve {
	struct loop *loop;
	struct MHD_Daemon *daemon;
	int epoll_fd;
	serve_fn fn;
	void *data;
	char address[INET6_ADDRSTRLEN + 16];
};

/* One request while its body arrives. */
struct exchange {
	struct buf body;
};

static enum MHD_Result queue(struct MHD_Connection *connection, unsigned int status,
			     const struct buf *answer)
{
	const char *text = answer->data ? answer->data : "";
	/* MHD copies; its parameter lacks only the const. */
	struct MHD_Response *response = MHD_create_response_from_buffer(
		answer->len, (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE,
				*text == '{' ? "application/json" : "text/plain; charset=utf-8");
	result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static const char *bearer_token(struct MHD_Connection *connection)
{
	const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
							MHD_HTTP_HEADER_AUTHORIZATION);

	return value && strncasecmp(value, "Bearer ", 7) == 0 ? value + 7 : NULL;
}

static enum MHD_Result handle(void *data, struct MHD_Connection *connection, const char *path,
			      const char *method, const char *version, const char *upload,
			      size_t *upload_size, void **state)
{
	clean(buf_done) struct buf answer = { 0 };
	struct serve *serve = data;
	struct exchange *exchange = *state;
	struct serve_request request;
	unsigned int status;

	(void)version;
	if (!exchange) {
		exchange = calloc(1, sizeof(*exchange));
		if (!exchange)
			return MHD_NO;
		buf_init(&exchange->body, SERVE_BODY_MAX);
		*state = exchange;
		return MHD_YES;
	}
	if (*upload_size > 0) {
		buf_add(&exchange->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	buf_init(&answer, ANSWER_MAX);
	if (exchange->body.err != 0) {
		buf_str(&answer, "body too large\n");
		return queue(connection, MHD_HTTP_CONTENT_TOO_LARGE, &answer);
	}
	request = (struct serve_request){
		.method = method,
		.path = path,
		.token = bearer_token(connection),
		.body = exchange->body.data ? exchange->body.data : "",
		.body_len = exchange->body.len,
	};
	status = serve->fn(&request, &answer, serve->data);
	if (answer.err != 0) {
		buf_reset(&answer);
		buf_str(&answer, "no memory for the answer\n");
		status = MHD_HTTP_INTERNAL_SERVER_ERROR;
	}
	return queue(connection, status, &answer);
}

static void completed(void *data, struct MHD_Connection *connection, void **state,
		      enum MHD_RequestTerminationCode code)
{
	struct exchange *exchange = *state;

	(void)data;
	(void)connection;
	(void)code;
	if (!exchange)
		return;
	buf_done(&exchange->body);
	free(exchange);
	*state = NULL;
}

static void on_event(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct serve *serve = data;

	(void)loop;
	(void)fd;
	(void)events;
	MHD_run(serve->daemon);
}

/* Runs MHD once a round: its time-outs have no file to wake the loop. */
static int64_t on_prepare(struct loop *loop, void *data)
{
	struct serve *serve = data;
	MHD_UNSIGNED_LONG_LONG timeout_ms;

	(void)loop;
	if (!serve->daemon)
		return -1;
	MHD_run(serve->daemon);
	if (MHD_get_timeout(serve->daemon, &timeout_ms) != MHD_YES)
		return -1;
	return timeout_ms > 60000 ? 60000 : (int64_t)timeout_ms;
}

static int parse_address(const char *listen, struct sockaddr_storage *ret_addr, socklen_t *ret_len)
{
	const char *colon = strrchr(listen, ':');
	struct sockaddr_storage addr = { 0 };
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&addr;
	struct sockaddr_in *in = (struct sockaddr_in *)&addr;
	char host[INET6_ADDRSTRLEN + 2];
	size_t len = colon ? (size_t)(colon - listen) : 0;
	uint64_t port;

	if (len == 0 || len >= sizeof(host) || parse_u64(colon + 1, &port) < 0 || port > 65535)
		return -EINVAL;
	memcpy(host, listen, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return -EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		*ret_len = sizeof(*in6);
	} else {
		if (inet_pton(AF_INET, host, &in->sin_addr) != 1)
			return -EINVAL;
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)port);
		*ret_len = sizeof(*in);
	}
	*ret_addr = addr;
	return 0;
}

static int open_socket(const char *listen_on, int *ret_fd, struct sockaddr_storage *ret_addr)
{
	clean_close int fd = -1;
	struct sockaddr_storage addr;
	socklen_t len;
	int err, one = 1;

	err = parse_address(listen_on, &addr, &len);
	if (err < 0)
		return err;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, CONNECTIONS_MAX) < 0 ||
	    getsockname(fd, (struct sockaddr *)&addr, &len) < 0)
		return -errno;
	*ret_addr = addr;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void print_address(const struct sockaddr_storage *addr, char *text, size_t size)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)addr;
	const struct sockaddr_in *in = (const struct sockaddr_in *)addr;
	char host[INET6_ADDRSTRLEN] = "";

	if (addr->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		snprintf(text, size, "[%s]:%u", host, ntohs(in6->sin6_port));
	} else {
		inet_ntop(AF_INET, &in->sin_addr, host, sizeof(host));
		snprintf(text, size, "%s:%u", host, ntohs(in->sin_port));
	}
}

int serve_new(struct loop *loop, const char *listen, serve_fn fn, void *data,
	      struct serve **ret_serve)
{
	const union MHD_DaemonInfo *info;
	struct sockaddr_storage addr;
	struct serve *serve;
	int fd = -1, err;

	err = open_socket(listen, &fd, &addr);
	if (err < 0)
		return err;
	serve = calloc(1, sizeof(*serve));
	if (!serve) {
		close(fd);
		return -ENOMEM;
	}
	serve->loop = loop;
	serve->epoll_fd = -1;
	serve->fn = fn;
	serve->data = data;
	print_address(&addr, serve->address, sizeof(serve->address));
	serve->daemon = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, handle, serve, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_NOTIFY_COMPLETED, completed, NULL, MHD_OPTION_CONNECTION_LIMIT,
		CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_END);
	if (!serve->daemon) {
		close(fd);
		free(serve);
		return -EIO;
	}
	info = MHD_get_daemon_info(serve->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	err = info ? loop_add_fd(loop, info->epoll_fd, EPOLLIN, on_event, serve) : -EIO;
	if (err == 0) {
		serve->epoll_fd = info->epoll_fd;
		err = loop_add_prepare(loop, on_prepare, serve);
	}
	if (err < 0) {
		serve_free(serve);
		return err;
	}
	*ret_serve = serve;
	return 0;
}

void serve_free(struct serve *serve)
{
	if (!serve)
		return;
	if (serve->epoll_fd >= 0)
		loop_remove_fd(serve->loop, serve->epoll_fd);
	MHD_stop_daemon(serve->daemon);
	free(serve);
}

const char *serve_address(const struct serve *serve)
{
	return serve->address;
}
