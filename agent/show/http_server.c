// SPDX-License-Identifier: Apache-2.0
#include "show/http_server.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/clean.h"
#include "base/clock.h"

#define HTTP_CONNECTIONS_MAX 256u
#define HTTP_CONNECTIONS_PER_ADDRESS 64u
/* Request line, headers and the answer's headers. A browser sends every cookie of "localhost" to
 * any port of it, so 4 KiB would be too small. */
#define HTTP_CONNECTION_BYTES ((size_t)16 * 1024)
#define HTTP_IDLE_SECONDS 15u
#define HTTP_REQUEST_MS 60000
/* While a connection is open its deadline is looked at this often. */
#define HTTP_SWEEP_MS 1000

struct http_connection {
	struct http_server *server;
	struct MHD_Connection *mhd;
	struct http_connection *prev, *next;
	int64_t deadline_ms; /* for the request under way, its answer included */
	struct http_body *body; /* being sent */
};

struct http_server {
	struct loop *loop;
	struct loop_timer *timer;
	struct MHD_Daemon *daemon;
	int epoll_fd; /* libmicrohttpd's own */
	uint16_t port;
	const struct http_route *routes;
	size_t n_routes;
	void *data;
	int64_t request_ms;
	struct http_connection *connections;
	size_t n_connections;
};

/* What one answer is sent from; freed by libmicrohttpd when the last byte is out. */
struct http_reply {
	struct http_body *body;
	struct buf tail;
};

static void reply_free(void *data)
{
	struct http_reply *reply = data;

	http_body_unref(reply->body);
	buf_done(&reply->tail);
	free(reply);
}

static struct http_connection *connection_of(struct MHD_Connection *mhd)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

	return info ? info->socket_context : NULL;
}

static void connection_rest(struct http_connection *connection)
{
	http_body_unref(connection->body);
	connection->body = NULL;
	connection->deadline_ms = clock_mono_ms() + connection->server->request_ms;
}

static void on_connection(void *data, struct MHD_Connection *mhd, void **socket_context,
			  enum MHD_ConnectionNotificationCode code)
{
	struct http_server *server = data;
	struct http_connection *connection = *socket_context;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		/* Without memory it is served without a deadline; libmicrohttpd's idle timeout holds. */
		connection = calloc(1, sizeof(*connection));
		if (!connection)
			return;
		connection->server = server;
		connection->mhd = mhd;
		connection->next = server->connections;
		if (connection->next)
			connection->next->prev = connection;
		server->connections = connection;
		server->n_connections++;
		connection_rest(connection);
		*socket_context = connection;
		return;
	}
	if (!connection)
		return;
	http_body_unref(connection->body);
	if (connection->prev)
		connection->prev->next = connection->next;
	else
		server->connections = connection->next;
	if (connection->next)
		connection->next->prev = connection->prev;
	server->n_connections--;
	free(connection);
	*socket_context = NULL;
}

static void on_completed(void *data, struct MHD_Connection *mhd, void **request,
			 enum MHD_RequestTerminationCode code)
{
	struct http_connection *connection = connection_of(mhd);

	(void)data;
	(void)request;
	(void)code;
	if (connection)
		connection_rest(connection);
}

/* Takes over answer->tail. The answer's body stays the route's. */
static struct MHD_Response *response_new(struct http_answer *answer)
{
	struct http_reply *reply = calloc(1, sizeof(*reply));
	struct MHD_IoVec parts[2];
	unsigned int n = 0;
	struct MHD_Response *response;

	if (!reply) {
		buf_done(&answer->tail);
		return NULL;
	}
	reply->tail = answer->tail;
	answer->tail = (struct buf){ 0 };
	if (answer->body) {
		const struct buf *plain;

		reply->body = http_body_ref(answer->body);
		plain = http_body_plain(reply->body);
		if (plain->len > 0)
			parts[n++] = (struct MHD_IoVec){ plain->data, plain->len };
	}
	if (reply->tail.len > 0)
		parts[n++] = (struct MHD_IoVec){ reply->tail.data, reply->tail.len };
	if (n > 0)
		response = MHD_create_response_from_iovec(parts, n, reply_free, reply);
	else
		response = MHD_create_response_from_buffer_with_free_callback_cls(
			0, NULL, reply_free, reply);
	if (!response)
		reply_free(reply);
	return response;
}

static enum MHD_Result send_answer(struct MHD_Connection *mhd, struct http_answer *answer,
				   const char *allow, bool close_after)
{
	struct http_connection *connection = connection_of(mhd);
	struct MHD_Response *response;
	enum MHD_Result result;

	if (answer->tail.err < 0) {
		buf_done(&answer->tail);
		return MHD_NO;
	}
	if (connection && answer->body && !connection->body)
		connection->body = http_body_ref(answer->body);
	response = response_new(answer);
	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", answer->content_type);
	MHD_add_response_header(response, "Content-Security-Policy",
				answer->csp ? answer->csp :
					      "default-src 'none'; frame-ancestors 'none'");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
	MHD_add_response_header(response, "Cross-Origin-Resource-Policy", "same-origin");
	if (allow)
		MHD_add_response_header(response, "Allow", allow);
	if (close_after)
		MHD_add_response_header(response, "Connection", "close");
	result = MHD_queue_response(mhd, answer->status, response);
	MHD_destroy_response(response);
	return result;
}

static void answer_init(struct http_answer *answer)
{
	*answer = (struct http_answer){
		.status = MHD_HTTP_OK,
		.content_type = "text/plain; charset=utf-8",
	};
	buf_init(&answer->tail, 0);
}

static enum MHD_Result send_error(struct MHD_Connection *mhd, unsigned int status, const char *text,
				  const char *allow, bool close_after)
{
	struct http_answer answer;

	answer_init(&answer);
	answer.status = status;
	buf_str(&answer.tail, text);
	return send_answer(mhd, &answer, allow, close_after);
}

static bool has_body(struct MHD_Connection *mhd)
{
	const char *length = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Content-Length");

	return (length && strcmp(length, "0") != 0) ||
	       MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "Transfer-Encoding");
}

static enum MHD_Result on_request(void *data, struct MHD_Connection *mhd, const char *url,
				  const char *method, const char *version, const char *upload,
				  size_t *upload_size, void **request)
{
	struct http_server *server = data;
	struct http_answer answer;

	(void)version;
	(void)upload;
	(void)upload_size;
	if (!*request) {
		/* First call: the headers are there, a body is not. What is refused is refused here
		 * and the connection closed, so that a body is neither read nor taken for the next
		 * request. */
		if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
			return send_error(mhd, MHD_HTTP_METHOD_NOT_ALLOWED,
					  "only GET and HEAD are served\n", "GET, HEAD", true);
		if (has_body(mhd))
			return send_error(mhd, MHD_HTTP_CONTENT_TOO_LARGE,
					  "a request with a body is refused\n", NULL, true);
		*request = server;
		return MHD_YES;
	}
	for (size_t i = 0; i < server->n_routes; i++) {
		if (strcmp(server->routes[i].path, url) != 0)
			continue;
		answer_init(&answer);
		server->routes[i].answer(&answer, server->data);
		return send_answer(mhd, &answer, NULL, false);
	}
	return send_error(mhd, MHD_HTTP_NOT_FOUND, "not found\n", NULL, false);
}

/* No path needs escapes: undecoded, "/%6detrics" and "/metrics%00" are simply unknown. */
static size_t no_unescape(void *data, struct MHD_Connection *mhd, char *str)
{
	(void)data;
	(void)mhd;
	return strlen(str);
}

/* Closes what is over its time or reads a text that has long been replaced. libmicrohttpd has no call
 * for that: the shutdown makes its own next read or write fail. */
static void sweep(struct http_server *server)
{
	int64_t now_ms = clock_mono_ms();

	for (const struct http_connection *connection = server->connections; connection;
	     connection = connection->next) {
		const union MHD_ConnectionInfo *info;

		if (now_ms < connection->deadline_ms &&
		    !(connection->body && http_body_is_stale(connection->body)))
			continue;
		info = MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
		if (info)
			shutdown(info->connect_fd, SHUT_RDWR);
	}
}

static void run(struct http_server *server)
{
	MHD_UNSIGNED_LONG_LONG timeout_ms;
	int64_t wait_ms = -1;

	/* Here and not in the timer alone: every byte that arrives sets the timer anew. */
	sweep(server);
	MHD_run(server->daemon);
	/* Its state changes nowhere but in MHD_run(), so the timeout holds until the next. */
	if (MHD_get_timeout(server->daemon, &timeout_ms) == MHD_YES)
		wait_ms = timeout_ms < HTTP_SWEEP_MS ? (int64_t)timeout_ms : HTTP_SWEEP_MS;
	if (server->connections && wait_ms < 0)
		wait_ms = HTTP_SWEEP_MS;
	if (wait_ms < 0)
		loop_timer_stop(server->timer);
	else
		loop_timer_set(server->timer, wait_ms);
}

static void on_ready(struct loop *loop, int fd, uint32_t events, void *data)
{
	(void)loop;
	(void)fd;
	(void)events;
	run(data);
}

static void on_timer(struct loop *loop, void *data)
{
	(void)loop;
	run(data);
}

static int daemon_start(struct http_server *server, const struct http_server_config *config, int fd)
{
	const union MHD_DaemonInfo *info;

	server->daemon = MHD_start_daemon(
		MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
		MHD_OPTION_CONNECTION_LIMIT, HTTP_CONNECTIONS_MAX,
		MHD_OPTION_PER_IP_CONNECTION_LIMIT, HTTP_CONNECTIONS_PER_ADDRESS,
		MHD_OPTION_CONNECTION_TIMEOUT,
		config->idle_seconds > 0 ? config->idle_seconds : HTTP_IDLE_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, HTTP_CONNECTION_BYTES,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_UNESCAPE_CALLBACK, no_unescape, NULL,
		MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_NOTIFY_COMPLETED,
		on_completed, NULL, MHD_OPTION_END);
	if (!server->daemon)
		return -EIO;
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -EIO;
	server->epoll_fd = info->epoll_fd;
	return 0;
}

int http_server_new(struct loop *loop, const struct http_server_config *config,
		    struct http_server **ret_server)
{
	struct http_server *server = calloc(1, sizeof(*server));
	clean_close int fd = -1;
	int err;

	if (!server)
		return -ENOMEM;
	server->loop = loop;
	server->epoll_fd = -1;
	server->routes = config->routes;
	server->n_routes = config->n_routes;
	server->data = config->data;
	server->request_ms = config->request_ms > 0 ? config->request_ms : HTTP_REQUEST_MS;
	err = http_listen_open(&config->listen, &fd, &server->port);
	if (err == 0)
		err = loop_timer_new(loop, on_timer, server, &server->timer);
	if (err == 0)
		err = daemon_start(server, config, fd);
	if (err == 0) {
		/* The daemon closes it from here on. */
		steal_fd(&fd);
		err = loop_add_fd(loop, server->epoll_fd, EPOLLIN, on_ready, server);
	}
	if (err < 0) {
		http_server_free(server);
		return err;
	}
	*ret_server = server;
	return 0;
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	if (server->epoll_fd >= 0)
		loop_remove_fd(server->loop, server->epoll_fd);
	loop_timer_free(server->timer);
	if (server->daemon)
		MHD_stop_daemon(server->daemon);
	free(server);
}

uint16_t http_server_port(const struct http_server *server)
{
	return server->port;
}

size_t http_server_connections(const struct http_server *server)
{
	return server->n_connections;
}
