// SPDX-License-Identifier: Apache-2.0
#include "show/process_stats.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/clean.h"
#include "base/clock.h"
#include "base/parse.h"

/* Positions in /proc/PID/stat counted from the state, the first field behind the name: proc(5)
 * numbers the state 3. */
enum {
	STAT_THREADS = 20 - 3,
	STAT_START = 22 - 3,
	STAT_VSIZE = 23 - 3,
	STAT_RSS = 24 - 3,
	STAT_FIELDS,
};

static int stat_fields(uint64_t fields[STAT_FIELDS])
{
	char text[1024], *at;
	int n = read_small_file(AT_FDCWD, "/proc/self/stat", text, sizeof(text));

	if (n < 0)
		return n;
	/* The name may hold blanks and brackets: what counts is the last bracket. */
	at = strrchr(text, ')');
	if (!at || at[1] != ' ')
		return -EINVAL;
	at += 2;
	for (size_t i = 0; i < STAT_FIELDS; i++) {
		/* Fields never used may be negative or a letter; strtoull takes both for us. */
		fields[i] = strtoull(at, NULL, 10);
		at = strchr(at, ' ');
		if (!at)
			return -EINVAL;
		at++;
	}
	return 0;
}

int process_stats_list_fds(uint64_t *ret_n)
{
	clean_dir DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;

	if (!dir)
		return -errno;
	for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
		n += entry->d_name[0] != '.';
	*ret_n = n > 0 ? n - 1 : 0; /* less the directory itself */
	return 0;
}

static int open_fds(uint64_t *ret_n)
{
	struct stat st;

	/* Since Linux 6.2 (commit f1f1f2569901) the directory's size is the number of files. */
	if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
		*ret_n = (uint64_t)st.st_size;
		return 0;
	}
	return process_stats_list_fds(ret_n);
}

static uint64_t soft_limit(__rlimit_resource_t resource)
{
	struct rlimit limit;

	if (getrlimit(resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	return limit.rlim_cur;
}

int process_stats_read(struct process_stats *ret_stats)
{
	/* The boot's wall time, taken once: a clock that is set later must not move the start. */
	static int64_t boot_wall_ms;
	struct process_stats stats = { 0 };
	uint64_t fields[STAT_FIELDS];
	struct timespec cpu;
	int err;

	if (boot_wall_ms == 0)
		boot_wall_ms = clock_wall_ms() - clock_read_ms(CLOCK_BOOTTIME);
	err = stat_fields(fields);
	if (err < 0)
		return err;
	err = open_fds(&stats.open_fds);
	if (err < 0)
		return err;
	/* /proc/self/stat counts in ticks of 10 ms; an idle agent needs less in a minute. */
	if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) < 0)
		return -errno;
	stats.cpu_seconds = (double)cpu.tv_sec + (double)cpu.tv_nsec / 1e9;
	stats.threads = fields[STAT_THREADS];
	stats.virtual_bytes = fields[STAT_VSIZE];
	stats.resident_bytes = fields[STAT_RSS] * (uint64_t)sysconf(_SC_PAGESIZE);
	stats.max_virtual_bytes = soft_limit(RLIMIT_AS);
	stats.max_fds = soft_limit(RLIMIT_NOFILE);
	stats.start_seconds = (double)boot_wall_ms / 1000 +
			      (double)fields[STAT_START] / (double)sysconf(_SC_CLK_TCK);
	*ret_stats = stats;
	return 0;
}
