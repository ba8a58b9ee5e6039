// SPDX-License-Identifier: Apache-2.0
#include "canary.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "cgtree.h"

#define ERRNO_MAX 134
#define RATE_MAX 1000
#define REPORT_EVERY_NS 1000000000

struct canary {
	const char *cgroup, *report;
	uint64_t rate; /* a second */
	uint64_t attempts, fork_failures, exec_failures;
	uint64_t by_errno[ERRNO_MAX];
	int64_t slowest_ns; /* fork to reaped */
};

/* Exec in the child failed: no status of /bin/true. */
#define EXIT_NO_EXEC 127

static void fork_once(struct canary *canary)
{
	int64_t start_ns = clock_mono_ns(), took_ns;
	pid_t tgid = fork();
	int status = 0;

	canary->attempts++;
	if (tgid < 0) {
		canary->fork_failures++;
		canary->by_errno[errno < ERRNO_MAX ? errno : 0]++;
		return;
	}
	if (tgid == 0) {
		sigset_t none;

		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execl("/bin/true", "true", (char *)NULL);
		_exit(EXIT_NO_EXEC);
	}
	while (waitpid(tgid, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		canary->exec_failures++;
	took_ns = clock_mono_ns() - start_ns;
	if (took_ns > canary->slowest_ns)
		canary->slowest_ns = took_ns;
}

static void print_report(const struct canary *canary, FILE *file)
{
	bool first = true;

	fprintf(file,
		"{\n  \"attempts\": %" PRIu64 ",\n  \"fork_failures\": %" PRIu64
		",\n  \"exec_failures\": %" PRIu64 ",\n  \"slowest_ms\": %.1f,\n  \"by_errno\": {",
		canary->attempts, canary->fork_failures, canary->exec_failures,
		(double)canary->slowest_ns / 1e6);
	for (int i = 0; i < ERRNO_MAX; i++) {
		const char *name = strerrorname_np(i);

		if (canary->by_errno[i] == 0)
			continue;
		fprintf(file, "%s\"%s\": %" PRIu64, first ? "" : ", ", name ? name : "unknown",
			canary->by_errno[i]);
		first = false;
	}
	fputs("}\n}\n", file);
}

/* Under another name first: a reader never sees half of it. */
static int write_report(const struct canary *canary)
{
	char path[PATH_MAX];
	FILE *file;

	if (!canary->report)
		return 0;
	if (snprintf(path, sizeof(path), "%s.new", canary->report) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	file = fopen(path, "we");
	if (!file)
		return -errno;
	print_report(canary, file);
	if (fclose(file) != 0 || rename(path, canary->report) < 0)
		return -errno;
	return 0;
}

/* Until SIGTERM or SIGINT; a round that comes late is not made up for. */
static void run(struct canary *canary)
{
	int64_t interval_ns = 1000000000 / (int64_t)canary->rate, due_ns = clock_mono_ns();
	int64_t report_due_ns = due_ns + REPORT_EVERY_NS;
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	for (;;) {
		int64_t now_ns = clock_mono_ns(), wait_ns;
		struct timespec wait;

		if (now_ns >= due_ns) {
			fork_once(canary);
			now_ns = clock_mono_ns();
			due_ns += interval_ns * ((now_ns - due_ns) / interval_ns + 1);
		}
		if (now_ns >= report_due_ns) {
			/* Only for who looks on; a failure shows in the last one. */
			write_report(canary);
			report_due_ns = now_ns + REPORT_EVERY_NS;
		}
		wait_ns = due_ns - now_ns;
		wait = (struct timespec){ .tv_sec = wait_ns / 1000000000,
					  .tv_nsec = wait_ns % 1000000000 };
		if (sigtimedwait(&signals, NULL, &wait) > 0)
			return;
	}
}

static int usage(const char *why)
{
	fprintf(stderr,
		"buildgen canary: %s\n"
		"usage: buildgen canary --cgroup DIR [--rate N] [--report FILE]\n",
		why);
	return 2;
}

int canary_main(int argc, char **argv)
{
	struct canary canary = { .rate = 20 };
	struct cgtree tree;
	int err;

	for (int i = 0; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;

		if (!value)
			return usage("an option without a value");
		if (strcmp(argv[i], "--cgroup") == 0)
			canary.cgroup = value;
		else if (strcmp(argv[i], "--report") == 0)
			canary.report = value;
		else if (strcmp(argv[i], "--rate") != 0)
			return usage("unknown option");
		else if (parse_u64(value, &canary.rate) < 0 || canary.rate < 1 ||
			 canary.rate > RATE_MAX)
			return usage("--rate must be 1..1000");
	}
	if (!canary.cgroup)
		return usage("--cgroup is missing");
	err = cgtree_find(&tree);
	if (err == 0)
		err = cgtree_make(&tree, canary.cgroup);
	if (err == 0)
		err = cgtree_enter(canary.cgroup);
	if (err < 0) {
		fprintf(stderr, "buildgen canary: %s: %s\n", canary.cgroup, strerror(-err));
		return 1;
	}
	/* A demonstration that was killed must not leave it forking. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	run(&canary);
	err = write_report(&canary);
	if (!canary.report)
		print_report(&canary, stdout);
	if (err < 0)
		fprintf(stderr, "buildgen canary: --report %s: %s\n", canary.report,
			strerror(-err));
	if (cgtree_enter(tree.self) < 0)
		cgtree_enter(tree.mount);
	rmdir(canary.cgroup);
	return err < 0 ? 1 : 0;
}
