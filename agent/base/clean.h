/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cleanup attributes: locals that free themselves on every return.
 * Refuses: ownership of anything that outlives a scope.
 */
#ifndef PIDWARDEN_BASE_CLEAN_H
#define PIDWARDEN_BASE_CLEAN_H

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define clean(fn) __attribute__((cleanup(fn)))

static inline void clean_free_fn(void *p)
{
	void **ptr = p;

	free(*ptr);
	*ptr = NULL;
}

/* errno survives, so that "return -errno" after the scope's last call stays right. */
static inline void clean_close_fn(const int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

static inline void clean_dir_fn(DIR **dir)
{
	int saved = errno;

	if (*dir)
		closedir(*dir);
	errno = saved;
}

static inline void clean_file_fn(FILE **file)
{
	int saved = errno;

	if (*file)
		fclose(*file);
	errno = saved;
}

#define clean_free clean(clean_free_fn)
#define clean_close clean(clean_close_fn)
#define clean_dir clean(clean_dir_fn)
#define clean_file clean(clean_file_fn)

/* Hands a pointer or fd out of a scope that would free it. */
#define steal_ptr(p)                         \
	({                                   \
		__typeof__(p) stolen_ = (p); \
		(p) = NULL;                  \
		stolen_;                     \
	})

static inline int steal_fd(int *fd)
{
	int stolen = *fd;

	*fd = -1;
	return stolen;
}

#endif
