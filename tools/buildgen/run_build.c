// SPDX-License-Identifier: Apache-2.0
#include "run_build.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "page.h"
#include "phases.h"
#include "rng.h"

/* A worker that could not make its threads says so by this status. */
#define WORKER_NO_THREAD 3
/* New processes a tick: 8 in 10 ms is steeper than any ramp, and still no storm. */
#define FORKS_A_TICK 8
/*
 * 1 ms of work in 40: three such workers in each of ten compiling builds use three quarters of
 * one CPU, so that the machine's PIDs run out before its CPUs do.
 */
#define BURN_SLICE_NS 1000000
#define BURN_PAUSE_NS 39000000
/* A worker's threads only sleep; ASan needs more than the minimum. */
#define THREAD_STACK_BYTES (256 * 1024)

struct worker {
	pid_t tgid;
	bool burner;
	bool ending;
};

struct run_build {
	struct build_page *page;
	struct phases_plan plan;
	struct rng rng;
	uint64_t threads; /* of each process */
	pid_t leader;
	struct worker workers[PHASES_HEIGHT_MAX];
	uint32_t n_workers; /* not reaped yet, those ending included */
	enum phase phase;
	int64_t turnover_due_ms;
	bool quiet;
};

static void say(const struct run_build *build, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void say(const struct run_build *build, const char *fmt, ...)
{
	va_list args;

	if (build->quiet)
		return;
	va_start(args, fmt);
	fputs("[INFO] ", stdout);
	vprintf(fmt, args);
	putchar('\n');
	fflush(stdout); /* workers must not inherit, and write again, what is buffered */
	va_end(args);
}

static void note_failure(struct build_page *page, int error)
{
	int32_t none = 0;

	atomic_fetch_add(&page->fork_failures, 1);
	atomic_compare_exchange_strong(&page->first_errno, &none, error);
}

static void *thread_main(void *data)
{
	(void)data;
	for (;;)
		pause();
	return NULL;
}

/* Makes the threads beyond the first. 0, or the positive error of pthread_create(3). */
static int make_threads(struct build_page *page, uint64_t threads)
{
	pthread_attr_t attr;
	int error = 0;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	for (uint64_t i = 1; i < threads && error == 0; i++) {
		pthread_t thread;

		error = pthread_create(&thread, &attr, thread_main, NULL);
		if (error == 0)
			atomic_fetch_add(&page->threads_created, 1);
	}
	pthread_attr_destroy(&attr);
	return error;
}

static void burn(void)
{
	for (;;) {
		struct timespec pause_time = { .tv_nsec = BURN_PAUSE_NS };
		int64_t end_ns = clock_mono_ns() + BURN_SLICE_NS;

		while (clock_mono_ns() < end_ns)
			;
		nanosleep(&pause_time, NULL);
	}
}

static _Noreturn void worker_main(const struct run_build *build, bool burner)
{
	struct build_page *page = build->page;
	sigset_t none;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* The leader may have died before the line above. */
	if (getppid() != build->leader)
		_exit(1);
	prctl(PR_SET_NAME, phases_worker_comm(build->phase));
	if (build->threads > 1) {
		int error = make_threads(page, build->threads);

		if (error != 0) {
			note_failure(page, error);
			_exit(WORKER_NO_THREAD);
		}
	}
	/* Blocked until here: a worker ended between making a thread and counting it would make the
	 * count wrong. */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (burner) {
		if (nice(19) == -1 && errno != 0)
			_exit(1);
		burn();
	}
	for (;;)
		pause();
}

static uint32_t count_burners(const struct run_build *build)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < build->n_workers; i++)
		n += build->workers[i].burner && !build->workers[i].ending;
	return n;
}

static void publish_processes(struct run_build *build)
{
	uint32_t processes = build->n_workers + 1;

	atomic_store(&build->page->processes, processes);
	if (processes > atomic_load(&build->page->peak_processes))
		atomic_store(&build->page->peak_processes, processes);
}

static int start_worker(struct run_build *build)
{
	bool burner = count_burners(build) < phases_burners(build->phase);
	pid_t tgid = fork();

	if (tgid < 0) {
		int err = -errno;

		note_failure(build->page, -err);
		return err;
	}
	if (tgid == 0) {
		errno = 0;
		worker_main(build, burner);
	}
	atomic_fetch_add(&build->page->processes_created, 1);
	build->workers[build->n_workers++] = (struct worker){ .tgid = tgid, .burner = burner };
	publish_processes(build);
	return 0;
}

static void end_worker(struct worker *worker)
{
	worker->ending = true;
	kill(worker->tgid, SIGTERM);
}

/* Reaps what has ended. PAGE_RUNNING, or why the build is over. */
static enum page_result reap_workers(struct run_build *build)
{
	enum page_result result = PAGE_RUNNING;
	pid_t tgid;
	int status;

	while ((tgid = waitpid(-1, &status, WNOHANG)) > 0) {
		for (uint32_t i = 0; i < build->n_workers; i++) {
			if (build->workers[i].tgid != tgid)
				continue;
			if (WIFEXITED(status) && WEXITSTATUS(status) == WORKER_NO_THREAD)
				result = PAGE_FORK_FAILED;
			else if (!build->workers[i].ending && result == PAGE_RUNNING)
				result = PAGE_WORKER_KILLED;
			build->workers[i] = build->workers[--build->n_workers];
			break;
		}
	}
	publish_processes(build);
	return result;
}

/* One of the workers, ending it now and then, to be replaced at the next tick: compilers and test
 * runners come and go. A replacement starts only after the old one is reaped, so the number of
 * processes never passes the target. */
static void turn_over(struct run_build *build, int64_t now_ms)
{
	int64_t mean_ms = phases_turnover_ms(build->phase);

	if (mean_ms == 0 || build->n_workers == 0 || now_ms < build->turnover_due_ms)
		return;
	build->turnover_due_ms = now_ms + (int64_t)rng_range(&build->rng, (uint64_t)mean_ms / 2,
							     (uint64_t)mean_ms * 3 / 2);
	end_worker(&build->workers[rng_range(&build->rng, 0, build->n_workers - 1)]);
}

/* Moves the number of processes towards @target. 0, or the errno of a failed fork. */
static int approach(struct run_build *build, uint32_t target)
{
	uint32_t alive = 1;

	for (uint32_t i = 0; i < build->n_workers; i++)
		alive += !build->workers[i].ending;
	for (uint32_t i = build->n_workers; i > 0 && alive > target; i--) {
		if (build->workers[i - 1].ending)
			continue;
		end_worker(&build->workers[i - 1]);
		alive--;
	}
	for (int i = 0; i < FORKS_A_TICK && build->n_workers + 1 < target; i++) {
		int err = start_worker(build);

		if (err < 0)
			return err;
	}
	return 0;
}

static void enter_phase(struct run_build *build, enum phase phase)
{
	build->phase = phase;
	atomic_store(&build->page->phase, phase);
	prctl(PR_SET_NAME, phases_leader_comm(phase));
	say(build, "phase %u/%u: %s", (unsigned int)phase + 1, (unsigned int)PHASE_COUNT,
	    phases_name(phase));
}

static enum page_result run(struct run_build *build, int64_t tick_ms)
{
	const struct timespec tick = { .tv_sec = tick_ms / 1000,
				       .tv_nsec = tick_ms % 1000 * 1000000 };
	int64_t start_ms = clock_mono_ms();
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	enter_phase(build, PHASE_ENVIRONMENT);
	for (;;) {
		int64_t now_ms = clock_mono_ms();
		enum page_result result;
		enum phase phase;
		uint32_t target;

		phase = phases_at(&build->plan, now_ms - start_ms, &target);
		if (phase == PHASE_COUNT)
			return PAGE_SUCCEEDED;
		/* One by one, so that a late tick skips no phase in the log. */
		while (build->phase < phase)
			enter_phase(build, build->phase + 1);
		result = reap_workers(build);
		if (result != PAGE_RUNNING)
			return result;
		if (approach(build, target) < 0)
			return PAGE_FORK_FAILED;
		turn_over(build, now_ms);
		if (sigtimedwait(&signals, NULL, &tick) == SIGTERM)
			return PAGE_STOPPED;
	}
}

static void end_all(struct run_build *build)
{
	for (uint32_t i = 0; i < build->n_workers; i++)
		end_worker(&build->workers[i]);
	while (build->n_workers > 0) {
		if (waitpid(-1, NULL, 0) < 0 && errno != EINTR)
			break;
		build->n_workers--;
		publish_processes(build);
	}
}

static int usage(const char *why)
{
	fprintf(stderr,
		"buildgen run-build: %s\n"
		"usage: buildgen run-build [--seed N] [--time-scale X] [--threads N] [--page-fd FD]\n",
		why);
	return 2;
}

/* A whole decimal number in @low..@high. */
static bool take_number(const char *text, uint64_t low, uint64_t high, uint64_t *ret_value)
{
	uint64_t value;

	if (!text || parse_u64(text, &value) < 0 || value < low || value > high)
		return false;
	*ret_value = value;
	return true;
}

int run_build_main(int argc, char **argv)
{
	struct run_build build = { .threads = 1, .leader = getpid() };
	const char *threads_env = getenv("THREADS_PER_PROCESS"), *job = getenv("JOB_NAME");
	uint64_t seed = 1, page_fd = 0;
	double time_scale = 1;
	enum page_result result;
	sigset_t blocked;
	int64_t tick_ms;

	if (threads_env && *threads_env && !take_number(threads_env, 1, 512, &build.threads))
		return usage("THREADS_PER_PROCESS must be 1..512");
	for (int i = 0; i < argc; i += 2) {
		const char *value = i + 1 < argc ? argv[i + 1] : NULL;
		char *end;

		if (strcmp(argv[i], "--seed") == 0) {
			if (!take_number(value, 0, UINT64_MAX, &seed))
				return usage("--seed wants a number");
		} else if (strcmp(argv[i], "--threads") == 0) {
			if (!take_number(value, 1, 512, &build.threads))
				return usage("--threads must be 1..512");
		} else if (strcmp(argv[i], "--page-fd") == 0) {
			if (!take_number(value, 3, 1 << 20, &page_fd))
				return usage("--page-fd wants a file descriptor above 2");
		} else if (strcmp(argv[i], "--time-scale") == 0) {
			time_scale = value ? strtod(value, &end) : 0;
			if (!value || *end != '\0' || !(time_scale >= 0.001 && time_scale <= 1000))
				return usage("--time-scale must be 0.001..1000");
		} else {
			return usage("unknown option");
		}
	}
	build.page = mmap(NULL, sizeof(*build.page), PROT_READ | PROT_WRITE,
			  page_fd ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS,
			  page_fd ? (int)page_fd : -1, 0);
	if (build.page == MAP_FAILED) {
		fprintf(stderr, "buildgen run-build: no page on fd %d: %s\n", (int)page_fd,
			strerror(errno));
		return 2;
	}
	build.quiet = page_fd > 0;
	if (page_fd)
		close((int)page_fd);

	/* SIGTERM is taken between two ticks; workers unblock it again. */
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	build.rng.state = seed ^ 0x5bd1e995;
	phases_plan_make(seed, time_scale, &build.plan);
	build.page->height = build.plan.height;
	publish_processes(&build);
	atomic_store(&build.page->magic, PAGE_MAGIC);
	say(&build, "%s: %u processes at the height, %lld ms", job ? job : "build",
	    build.plan.height, (long long)phases_total_ms(&build.plan));

	tick_ms = (int64_t)(100 * time_scale);
	tick_ms = tick_ms < 10 ? 10 : tick_ms > 100 ? 100 : tick_ms;
	result = PAGE_FORK_FAILED;
	if (build.threads > 1) {
		int error = make_threads(build.page, build.threads);

		if (error != 0)
			note_failure(build.page, error);
		else
			result = run(&build, tick_ms);
	} else {
		result = run(&build, tick_ms);
	}
	end_all(&build);
	if (result == PAGE_SUCCEEDED)
		atomic_store(&build.page->phase, PHASE_COUNT);
	atomic_store(&build.page->result, result);
	if (result == PAGE_FORK_FAILED)
		say(&build, "fork: %s", strerror(atomic_load(&build.page->first_errno)));
	say(&build, "BUILD %s: %llu processes and %llu threads created, %llu failed forks",
	    result == PAGE_SUCCEEDED ? "SUCCESS" : "FAILURE",
	    (unsigned long long)atomic_load(&build.page->processes_created),
	    (unsigned long long)atomic_load(&build.page->threads_created),
	    (unsigned long long)atomic_load(&build.page->fork_failures));
	/* Not exit(): threads that sleep for ever are no leak worth a sanitizer's search. */
	_exit(result == PAGE_SUCCEEDED ? 0 : result == PAGE_STOPPED ? 143 : 1);
}
