/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The address that the HTTP server listens on: parsed from an option, opened as a socket.
 * Refuses: host names; a name could mean another machine tomorrow, and resolving blocks.
 */
#ifndef PIDWARDEN_SHOW_HTTP_LISTEN_H
#define PIDWARDEN_SHOW_HTTP_LISTEN_H

#include <stdint.h>
#include <sys/socket.h>

struct http_listen {
	struct sockaddr_storage addr;
	socklen_t len;
};

/*
 * "127.0.0.1:9917", "[::1]:9917"; ":9917" and "[::]:9917" are every address of both families. Port 0
 * lets the kernel choose. -EINVAL for anything else, an address with a zone among it.
 */
int http_listen_parse(const char *str, struct http_listen *ret_listen);

/* A bound, listening, non-blocking socket in *ret_fd, or what socket(2) and bind(2) give. On a
 * kernel without IPv6, "[::]" falls back to 0.0.0.0. */
int http_listen_open(const struct http_listen *listen, int *ret_fd, uint16_t *ret_port);

#endif
