/* SPDX-License-Identifier: Apache-2.0 */
/* A directory of the test's own, made before it and removed with all in it after. */
#ifndef PIDWARDEN_TESTS_TEMP_DIR_H
#define PIDWARDEN_TESTS_TEMP_DIR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static char temp_dir[64];

static inline int temp_dir_setup(void **state)
{
	(void)state;
	snprintf(temp_dir, sizeof(temp_dir), "/tmp/pidwarden-test-XXXXXX");
	return mkdtemp(temp_dir) ? 0 : -1;
}

static inline int temp_dir_remove_one(const char *path, const struct stat *st, int type,
				      struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

/* @path below the directory, with all below it; "" is all of it. */
static inline int temp_dir_drop(const char *path)
{
	char full[1024];

	snprintf(full, sizeof(full), "%s/%s", temp_dir, path);
	return nftw(full, temp_dir_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline int temp_dir_teardown(void **state)
{
	(void)state;
	return temp_dir_drop("");
}

/* Writes the file @path below the directory. */
static inline void temp_dir_put(const char *path, const char *text)
{
	char full[1024];
	FILE *file;

	snprintf(full, sizeof(full), "%s/%s", temp_dir, path);
	file = fopen(full, "we");
	if (!file)
		fail_msg("cannot write %s", full);
	fputs(text, file);
	fclose(file);
}

#endif
