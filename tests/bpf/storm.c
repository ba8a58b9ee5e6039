// SPDX-License-Identifier: Apache-2.0
/*
 * Makes tasks in every way there is and says how many it made, so that a test has a figure that
 * comes from neither the kernel nor the agent. Everything is bounded by its arguments; it reaps
 * all it made.
 *
 *   storm fork N | vfork N | clone3 N | into DIR N | thread N | exec N
 *   storm hold N T       N processes with T more threads each, until standard input closes
 *   storm sessions N     N daemons whose session leaders are dead, until standard input closes
 *   storm endless MS     forks and reaps for MS milliseconds
 *
 * hold and sessions print "ready" when everything is there. At the end one line: "processes=N
 * threads=N execs=N", what was created successfully, this process not included.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* linux/sched.h of some distributions stops before cgroup. */
struct clone3_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
		set_tid_size, cgroup;
};

/* Shared with the children, who make tasks, too. */
static struct made {
	atomic_ulong processes, threads, execs, ready;
} * made;

static void die(const char *what)
{
	fprintf(stderr, "storm: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void reap(pid_t tgid)
{
	while (waitpid(tgid, NULL, 0) < 0) {
		if (errno != EINTR)
			die("waitpid");
	}
}

static void made_process(pid_t tgid)
{
	if (tgid < 0)
		die("fork");
	made->processes++;
}

static pid_t clone3(uint64_t flags, int cgroup_fd)
{
	struct clone3_args args = { .flags = flags, .exit_signal = SIGCHLD };

	if (cgroup_fd >= 0)
		args.cgroup = (uint64_t)cgroup_fd;
	return (pid_t)syscall(SYS_clone3, &args, sizeof(args));
}

static void storm_fork(long n)
{
	while (n-- > 0) {
		pid_t tgid = fork();

		if (tgid == 0)
			_exit(0);
		made_process(tgid);
		reap(tgid);
	}
}

static void storm_vfork(long n)
{
	while (n-- > 0) {
		pid_t tgid = vfork();

		if (tgid == 0)
			_exit(0);
		made_process(tgid);
		reap(tgid);
	}
}

static void storm_clone3(long n, uint64_t flags, int cgroup_fd)
{
	while (n-- > 0) {
		pid_t tgid = clone3(flags, cgroup_fd);

		if (tgid == 0)
			_exit(0);
		made_process(tgid);
		reap(tgid);
	}
}

static void *no_work(void *data)
{
	return data;
}

static void storm_thread(long n)
{
	while (n-- > 0) {
		pthread_t thread;
		int err = pthread_create(&thread, NULL, no_work, NULL);

		if (err) {
			errno = err;
			die("pthread_create");
		}
		made->threads++;
		pthread_join(thread, NULL);
	}
}

static void storm_exec(long n)
{
	while (n-- > 0) {
		pid_t tgid = fork();

		if (tgid == 0) {
			execl("/proc/self/exe", "storm", "nothing", (char *)NULL);
			_exit(127);
		}
		made_process(tgid);
		int status;

		while (waitpid(tgid, &status, 0) < 0 && errno == EINTR)
			;
		if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
			die("exec");
		made->execs++;
	}
}

static void *sleep_on(void *data)
{
	made->ready++;
	for (;;)
		pause();
	return data;
}

static void wait_ready(unsigned long n)
{
	while (made->ready < n)
		usleep(1000);
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		char c;
		ssize_t got = read(STDIN_FILENO, &c, 1);

		if (got == 0 || (got < 0 && errno != EINTR))
			return;
	}
}

static void hold_child(long threads)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (threads-- > 0) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, sleep_on, NULL))
			_exit(1);
		made->threads++;
	}
	sleep_on(NULL);
}

static void storm_hold(long n, long threads)
{
	pid_t *children = calloc((size_t)n, sizeof(*children));
	long i;

	if (!children)
		die("calloc");
	for (i = 0; i < n; i++) {
		children[i] = fork();
		if (children[i] == 0)
			hold_child(threads);
		made_process(children[i]);
	}
	wait_ready((unsigned long)(n * (threads + 1)));
	for (i = 0; i < n; i++) {
		kill(children[i], SIGKILL);
		reap(children[i]);
	}
	free(children);
}

/*
 * Double fork without the daemon ever leaving the leader's session: the leader's number stays
 * taken.
 */
static void storm_sessions(long n)
{
	pid_t *daemons;
	long i;

	daemons = mmap(NULL, (size_t)n * sizeof(*daemons), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (daemons == MAP_FAILED || prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		die("sessions");
	for (i = 0; i < n; i++) {
		pid_t leader = fork();

		if (leader == 0) {
			pid_t daemon;

			setsid();
			daemon = fork();
			if (daemon == 0) {
				sleep_on(NULL);
			} else if (daemon > 0) {
				made->processes++;
				daemons[i] = daemon;
			}
			_exit(daemon > 0 ? 0 : 1);
		}
		made_process(leader);
		reap(leader);
		if (daemons[i] == 0)
			die("fork in a session leader");
	}
	wait_ready((unsigned long)n);
	for (i = 0; i < n; i++) {
		kill(daemons[i], SIGKILL);
		reap(daemons[i]);
	}
}

static void storm_endless(long ms)
{
	struct timespec now;
	int64_t end, at;

	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000 + ms;
	do {
		storm_fork(10);
		clock_gettime(CLOCK_MONOTONIC, &now);
		at = now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
	} while (at < end);
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	long n = argc > 2 ? atol(argv[argc > 3 ? 3 : 2]) : 0;

	if (strcmp(mode, "nothing") == 0)
		return 0;
	/* Whoever started it may die first. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	made = mmap(NULL, sizeof(*made), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (made == MAP_FAILED)
		die("mmap");
	if (strcmp(mode, "fork") == 0) {
		storm_fork(n);
	} else if (strcmp(mode, "vfork") == 0) {
		storm_vfork(n);
	} else if (strcmp(mode, "clone3") == 0) {
		storm_clone3(n, 0, -1);
	} else if (strcmp(mode, "into") == 0 && argc > 3) {
		int fd = open(argv[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (fd < 0)
			die(argv[2]);
		storm_clone3(n, CLONE_INTO_CGROUP, fd);
	} else if (strcmp(mode, "thread") == 0) {
		storm_thread(n);
	} else if (strcmp(mode, "exec") == 0) {
		storm_exec(n);
	} else if (strcmp(mode, "hold") == 0 && argc > 3) {
		storm_hold(atol(argv[2]), n);
	} else if (strcmp(mode, "sessions") == 0) {
		storm_sessions(n);
	} else if (strcmp(mode, "endless") == 0) {
		storm_endless(n);
	} else {
		fprintf(stderr, "storm: unknown mode \"%s\"\n", mode);
		return 2;
	}
	printf("processes=%lu threads=%lu execs=%lu\n", made->processes, made->threads,
	       made->execs);
	return 0;
}
