// SPDX-License-Identifier: Apache-2.0
#include "read/cgroup_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/parse.h"

const char *cgroup_mode_name(enum cgroup_mode mode)
{
	switch (mode) {
	case CGROUP_MODE_V1:
		return "v1";
	case CGROUP_MODE_HYBRID:
		return "hybrid";
	case CGROUP_MODE_V2:
		return "v2";
	}
	return "unknown";
}

/* Whether @word stands in the list @list, separated by @separator. */
static bool list_has(const char *list, const char *word, char separator)
{
	size_t len = strlen(word);

	while (*list != '\0') {
		const char *end = strchrnul(list, separator);

		if ((size_t)(end - list) == len && strncmp(list, word, len) == 0)
			return true;
		list = *end == '\0' ? end : end + 1;
	}
	return false;
}

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape_octal(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

/* cgroup.controllers of a v2 root lists what the hierarchy carries. */
static bool v2_has_pids(const char *dir)
{
	char path[PATH_MAX + 32], text[512];

	snprintf(path, sizeof(path), "%s/cgroup.controllers", dir);
	if (read_small_file(AT_FDCWD, path, text, sizeof(text)) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return list_has(text, "pids", ' ');
}

static bool exists(const char *dir, const char *name)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return access(path, F_OK) == 0;
}

static int find_below(const char *root, struct cgroup_mount *ret_mount)
{
	char pids[PATH_MAX];

	if (v2_has_pids(root)) {
		ret_mount->mode = CGROUP_MODE_V2;
		snprintf(ret_mount->path, sizeof(ret_mount->path), "%s", root);
		return 0;
	}
	if ((size_t)snprintf(pids, sizeof(pids), "%s/pids", root) >= sizeof(pids))
		return -ENAMETOOLONG;
	if (access(pids, F_OK) < 0) {
		/* The v1 hierarchy itself: only there a cgroup has a "tasks" file. */
		if (!exists(root, "tasks"))
			return -ENOENT;
		ret_mount->mode = CGROUP_MODE_V1;
		snprintf(ret_mount->path, sizeof(ret_mount->path), "%s", root);
		return 0;
	}
	ret_mount->mode = exists(root, "unified/cgroup.controllers") ? CGROUP_MODE_HYBRID :
								       CGROUP_MODE_V1;
	snprintf(ret_mount->path, sizeof(ret_mount->path), "%s", pids);
	return 0;
}

int cgroup_mount_find(const char *proc_root, const char *cgroup_root,
		      struct cgroup_mount *ret_mount)
{
	char path[PATH_MAX], v1[PATH_MAX] = "", v2[PATH_MAX] = "";
	bool v2_mounted = false;
	clean_free char *line = NULL;
	clean_file FILE *file = NULL;
	size_t size = 0;

	if (cgroup_root && cgroup_root[0] != '\0')
		return find_below(cgroup_root, ret_mount);
	if ((size_t)snprintf(path, sizeof(path), "%s/self/mountinfo", proc_root) >= sizeof(path))
		return -ENAMETOOLONG;
	file = fopen(path, "re");
	if (!file)
		return -errno;
	while (getline(&line, &size, file) > 0) {
		/* id parent major:minor root mountpoint options [tags] - type source superoptions */
		char *fields[5], *at = line, *dash, *type, *options;
		size_t n;

		line[strcspn(line, "\n")] = '\0';
		dash = strstr(line, " - ");
		if (!dash)
			continue;
		*dash = '\0';
		for (n = 0; n < 5; n++) {
			fields[n] = strsep(&at, " ");
			if (!fields[n])
				break;
		}
		if (n < 5)
			continue;
		at = dash + 3;
		type = strsep(&at, " ");
		strsep(&at, " ");
		options = at;
		unescape_octal(fields[4]);
		if (strcmp(type, "cgroup") == 0 && options && list_has(options, "pids", ',') &&
		    v1[0] == '\0') {
			snprintf(v1, sizeof(v1), "%s", fields[4]);
		} else if (strcmp(type, "cgroup2") == 0) {
			v2_mounted = true;
			if (v2[0] == '\0' && v2_has_pids(fields[4]))
				snprintf(v2, sizeof(v2), "%s", fields[4]);
		}
	}
	if (v1[0] != '\0') {
		ret_mount->mode = v2_mounted ? CGROUP_MODE_HYBRID : CGROUP_MODE_V1;
		memcpy(ret_mount->path, v1, sizeof(v1));
		return 0;
	}
	if (v2[0] != '\0') {
		ret_mount->mode = CGROUP_MODE_V2;
		memcpy(ret_mount->path, v2, sizeof(v2));
		return 0;
	}
	return -ENOENT;
}
