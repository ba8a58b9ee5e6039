// SPDX-License-Identifier: Apache-2.0
#include "kube/http_token.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/parse.h"

static int refuse(int err, const char *error, const char **ret_error)
{
	*ret_error = error;
	return err;
}

int http_token_header(const char *path, char *ret_header, size_t size, const char **ret_error)
{
	static const char prefix[] = "Authorization: Bearer ";
	char *token = ret_header + strlen(prefix);
	size_t room = size - strlen(prefix);
	struct stat st;
	int len;

	/* A pipe of that name would hold the loop up. */
	if (stat(path, &st) < 0)
		return refuse(-errno, strerror(errno), ret_error);
	if (!S_ISREG(st.st_mode))
		return refuse(-EINVAL, "it is no regular file", ret_error);
	memcpy(ret_header, prefix, sizeof(prefix));
	len = read_small_file(AT_FDCWD, path, token, room);
	if (len < 0)
		return refuse(len, strerror(-len), ret_error);
	if ((size_t)len == room - 1)
		return refuse(-EINVAL, "it is too long for a token", ret_error);
	while (len > 0 && strchr(" \t\r\n", token[len - 1]))
		token[--len] = '\0';
	if (len == 0)
		return refuse(-EINVAL, "it is empty", ret_error);
	for (int i = 0; i < len; i++) {
		/* A line end within it would begin another header. */
		if (token[i] <= ' ' || token[i] > '~')
			return refuse(-EINVAL, "it holds characters that no token has", ret_error);
	}
	return 0;
}
