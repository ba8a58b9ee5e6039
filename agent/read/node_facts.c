// SPDX-License-Identifier: Apache-2.0
#include "read/node_facts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"

static int read_number(const char *proc_root, const char *file, uint64_t *ret_value)
{
	char path[4096], text[64];
	int n;

	if ((size_t)snprintf(path, sizeof(path), "%s/%s", proc_root, file) >= sizeof(path))
		return -ENAMETOOLONG;
	n = read_small_file(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return n;
	text[strcspn(text, "\n")] = '\0';
	return parse_u64(text, ret_value);
}

/* "0.09 0.06 0.02 1/78 2333": 1 running of 78 tasks. */
static int read_tasks(const char *proc_root, uint64_t *ret_tasks)
{
	char path[4096], text[128], *slash;
	int n;

	if ((size_t)snprintf(path, sizeof(path), "%s/loadavg", proc_root) >= sizeof(path))
		return -ENAMETOOLONG;
	n = read_small_file(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return n;
	slash = strchr(text, '/');
	if (!slash)
		return -EINVAL;
	slash[1 + strcspn(slash + 1, " \n")] = '\0';
	return parse_u64(slash + 1, ret_tasks);
}

int node_facts_read(const char *proc_root, struct node_facts *ret_facts)
{
	struct node_facts facts;
	int err;

	err = read_number(proc_root, "sys/kernel/pid_max", &facts.pid_max);
	if (err == 0)
		err = read_number(proc_root, "sys/kernel/threads-max", &facts.threads_max);
	if (err == 0)
		err = read_tasks(proc_root, &facts.tasks);
	if (err == 0)
		*ret_facts = facts;
	return err;
}
