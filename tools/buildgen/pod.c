// SPDX-License-Identifier: Apache-2.0
#include "pod.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clean.h"
#include "base/clock.h"

/* Where the build finds its page. */
#define PAGE_FD 3
/* What a child says that could not become a pod's process: as a runtime's own failure. */
#define EXIT_NO_POD 126

/* In a forked child: dies with the generator, sits in @dir, has no file above 2 but @keep_fd,
 * which becomes PAGE_FD (-1: none), and signals as a fresh process has them. */
static void become_pod_process(const char *dir, pid_t generator, int keep_fd)
{
	sigset_t none;
	int null_fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != generator || cgtree_enter(dir) < 0)
		_exit(EXIT_NO_POD);
	if (keep_fd == PAGE_FD)
		fcntl(keep_fd, F_SETFD, 0);
	else if (keep_fd >= 0)
		dup2(keep_fd, PAGE_FD);
	close_range(keep_fd >= 0 ? PAGE_FD + 1 : PAGE_FD, ~0u, 0);
	null_fd = open("/dev/null", O_RDWR);
	if (null_fd >= 0) {
		dup2(null_fd, 0);
		dup2(null_fd, 1);
		if (null_fd > 2)
			close(null_fd);
	}
	/* A terminal's Ctrl-C is for the generator; it ends its builds in order. */
	setpgid(0, 0);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int start_pause(struct pod *pod, const char *dir)
{
	pid_t generator = getpid();
	pid_t tgid = fork();

	if (tgid < 0)
		return -errno;
	if (tgid == 0) {
		become_pod_process(dir, generator, -1);
		prctl(PR_SET_NAME, "pause");
		for (;;)
			pause();
	}
	pod->pause = tgid;
	return 0;
}

static _Noreturn void exec_build(const struct pod *pod)
{
	char seed[24], scale[32], threads[24];

	snprintf(seed, sizeof(seed), "%" PRIu64, pod->spec.seed);
	snprintf(scale, sizeof(scale), "%.6f", pod->spec.time_scale);
	snprintf(threads, sizeof(threads), "%" PRIu64, pod->spec.threads);
	setenv("JOB_NAME", pod->spec.job_name, 1);
	setenv("NAMESPACE", pod->spec.namespace, 1);
	setenv("POD_NAME", pod->name, 1);
	setenv("BUILD_TYPE", "microservice", 1);
	setenv("MAVEN_OPTS", "-Xmx400m -Xms200m", 1);
	setenv("THREADS_PER_PROCESS", threads, 1);
	execl("/proc/self/exe", "buildgen", "run-build", "--page-fd", "3", "--seed", seed,
	      "--time-scale", scale, (char *)NULL);
	_exit(EXIT_NO_POD);
}

static int start_build(struct pod *pod, const char *dir, int page_fd)
{
	pid_t generator = getpid();
	pid_t tgid = fork();

	if (tgid < 0)
		return -errno;
	if (tgid == 0) {
		become_pod_process(dir, generator, page_fd);
		exec_build(pod);
	}
	pod->leader = tgid;
	return 0;
}

static int make_page(struct pod *pod, int *ret_fd)
{
	clean_close int fd = memfd_create("build", MFD_CLOEXEC);
	void *page;

	if (fd < 0 || ftruncate(fd, sizeof(*pod->page)) < 0)
		return -errno;
	page = mmap(NULL, sizeof(*pod->page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED)
		return -errno;
	pod->page = page;
	*ret_fd = steal_fd(&fd);
	return 0;
}

static int start(const struct node *node, struct pod *pod)
{
	clean_close int page_fd = -1;
	char dir[PATH_MAX];
	int err;

	err = make_page(pod, &page_fd);
	if (err < 0)
		return err;
	if (snprintf(dir, sizeof(dir), "%s/%s", pod->dir, pod->sandbox_id) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	err = cgtree_make(&node->tree, dir);
	if (err < 0)
		return err;
	err = start_pause(pod, dir);
	if (err < 0)
		return err;
	if (snprintf(dir, sizeof(dir), "%s/%s", pod->dir, pod->container_id) >= (int)sizeof(dir))
		return -ENAMETOOLONG;
	err = cgtree_make(&node->tree, dir);
	if (err < 0)
		return err;
	return start_build(pod, dir, page_fd);
}

static void end(struct pod *pod, enum pod_cause cause)
{
	pod->state = POD_ENDING;
	pod->cause = cause;
	pod->end_ms = clock_mono_ms();
	pod->end_wall_ms = clock_wall_ms();
	if (pod->pause > 0)
		kill(pod->pause, SIGKILL);
}

int pod_start(const struct node *node, const struct pod_spec *spec, struct pod **ret_pod)
{
	struct pod *pod = calloc(1, sizeof(*pod));
	char suffix[6];
	int err;

	if (!pod)
		return -ENOMEM;
	pod->spec = *spec;
	pod->start_ms = clock_mono_ms();
	pod->start_wall_ms = clock_wall_ms();
	names_pod_suffix(suffix);
	snprintf(pod->name, sizeof(pod->name), "%s-%s", spec->job_name, suffix);
	names_uuid(pod->uid);
	names_container_id(pod->container_id);
	names_container_id(pod->sandbox_id);
	err = snprintf(pod->dir, sizeof(pod->dir), "%s/pod%s", node->pods_dir, pod->uid) <
			      (int)sizeof(pod->dir) ?
		      0 :
		      -ENAMETOOLONG;
	if (err == 0)
		err = start(node, pod);
	if (err < 0)
		end(pod, POD_START_FAILURE);
	*ret_pod = pod;
	return err;
}

void pod_free(struct pod *pod)
{
	if (!pod)
		return;
	if (pod->page)
		munmap(pod->page, sizeof(*pod->page));
	free(pod);
}

/* Why the leader ended, from its exit status and what its page says. */
static enum pod_cause judge(const struct pod *pod, int wait_status)
{
	uint32_t result = atomic_load(&pod->page->result);

	if (pod->killed_for_timeout)
		return POD_TIMEOUT;
	/* A worker saw the failure, the leader may not have come to say so. */
	if (result == PAGE_FORK_FAILED || atomic_load(&pod->page->fork_failures) > 0)
		return POD_FORK_FAILURE;
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0 && result == PAGE_SUCCEEDED)
		return POD_SUCCEEDED;
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == EXIT_NO_POD)
		return POD_START_FAILURE;
	if (WIFSIGNALED(wait_status) || result == PAGE_WORKER_KILLED || result == PAGE_STOPPED)
		return POD_KILLED;
	return POD_OTHER;
}

bool pod_reaped(struct pod *pod, pid_t tgid, int wait_status)
{
	if (tgid == pod->pause) {
		pod->pause = 0;
		/* A sandbox that dies takes its pod along. */
		if (pod->state == POD_RUNNING)
			kill(pod->leader, SIGTERM);
		return true;
	}
	if (tgid != pod->leader)
		return false;
	pod->leader = 0;
	pod->exit_status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) :
						    128 + WTERMSIG(wait_status);
	if (pod->state == POD_RUNNING)
		end(pod, judge(pod, wait_status));
	return true;
}

void pod_stop(const struct pod *pod)
{
	if (pod->leader > 0)
		kill(pod->leader, SIGTERM);
}

void pod_clean(struct pod *pod)
{
	if (pod->state != POD_ENDING)
		return;
	/* Killed children must be reaped by the generator first, or their zombies would keep PIDs
	 * after the pod's end. */
	if (cgtree_remove_pass(pod->dir) != -EBUSY && pod->leader == 0 && pod->pause == 0)
		pod->state = POD_ENDED;
}

const char *pod_cause_name(enum pod_cause cause)
{
	static const char *const names[POD_CAUSES] = {
		[POD_SUCCEEDED] = "succeeded",	   [POD_FORK_FAILURE] = "fork_failure",
		[POD_START_FAILURE] = "pod_start", [POD_KILLED] = "killed",
		[POD_TIMEOUT] = "timeout",	   [POD_OTHER] = "other",
		[POD_INTERRUPTED] = "interrupted",
	};

	return cause < POD_CAUSES ? names[cause] : "unknown";
}
