// SPDX-License-Identifier: Apache-2.0
#include "show/http_listen.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <string.h>

#include "base/clean.h"
#include "base/parse.h"

#define HTTP_BACKLOG 128

int http_listen_parse(const char *str, struct http_listen *ret_listen)
{
	struct http_listen listen = { 0 };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&listen.addr;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&listen.addr;
	const char *colon = strrchr(str, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t len;
	uint64_t port;

	if (!colon || (size_t)(colon - str) >= sizeof(host) || parse_u64(colon + 1, &port) < 0 ||
	    port > UINT16_MAX)
		return -EINVAL;
	len = (size_t)(colon - str);
	memcpy(host, str, len);
	host[len] = '\0';
	if (len == 0)
		strcpy(host, "[::]");
	len = strlen(host);
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		if (inet_pton(AF_INET6, host + 1, &in6->sin6_addr) != 1)
			return -EINVAL;
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		listen.len = sizeof(*in6);
	} else {
		if (inet_pton(AF_INET, host, &in4->sin_addr) != 1)
			return -EINVAL;
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
		listen.len = sizeof(*in4);
	}
	*ret_listen = listen;
	return 0;
}

static uint16_t addr_port(const struct sockaddr_storage *addr)
{
	/* The port lies at the same place in both families. */
	return ntohs(((const struct sockaddr_in *)addr)->sin_port);
}

static bool is_any6(const struct sockaddr_storage *addr)
{
	return addr->ss_family == AF_INET6 &&
	       IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)addr)->sin6_addr);
}

static int open_one(const struct http_listen *listen_addr, int *ret_fd, uint16_t *ret_port)
{
	int on = 1, v6only = !is_any6(&listen_addr->addr);
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	clean_close int fd = -1;

	fd = socket(listen_addr->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* A restarted agent must not wait for the last one's connections in TIME_WAIT. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	/* Not left to net.ipv6.bindv6only. */
	if (listen_addr->addr.ss_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) < 0)
		return -errno;
	if (bind(fd, (const struct sockaddr *)&listen_addr->addr, listen_addr->len) < 0)
		return -errno;
	if (listen(fd, HTTP_BACKLOG) < 0)
		return -errno;
	if (getsockname(fd, (struct sockaddr *)&bound, &len) < 0)
		return -errno;
	*ret_port = addr_port(&bound);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int http_listen_open(const struct http_listen *listen, int *ret_fd, uint16_t *ret_port)
{
	int err = open_one(listen, ret_fd, ret_port);
	struct http_listen any4 = { .len = sizeof(struct sockaddr_in) };
	struct sockaddr_in *in4 = (struct sockaddr_in *)&any4.addr;

	/* EAFNOSUPPORT: no IPv6 in the kernel; EADDRNOTAVAIL: disabled by sysctl. */
	if ((err != -EAFNOSUPPORT && err != -EADDRNOTAVAIL) || !is_any6(&listen->addr))
		return err;
	in4->sin_family = AF_INET;
	in4->sin_port = htons(addr_port(&listen->addr));
	in4->sin_addr.s_addr = htonl(INADDR_ANY);
	return open_one(&any4, ret_fd, ret_port);
}
