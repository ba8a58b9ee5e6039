// SPDX-License-Identifier: Apache-2.0
/* Arguments, signals, and the order in which things are made and taken down. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "agent.h"
#include "base/buf.h"
#include "base/clean.h"
#include "base/log.h"
#include "base/loop.h"
#include "options.h"
#include "writer.h"

#define EXIT_USAGE 2
/* What is in force is withdrawn on exit; a peer that does not answer gets this long. */
#define STOP_GRACE_MS 3000
#define WRITER_GRACE_MS 2000

struct process {
	struct loop *loop;
	struct agent *agent;
	struct loop_timer *deadline;
	bool stopping;
};

/* One open file per cgroup is kept: 1,024 would not do. */
static void raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur == limit.rlim_max)
		return;
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		log_warn("the limit of open files stays as it is: %s", strerror(errno));
}

static void on_deadline(struct loop *loop, void *data)
{
	(void)data;
	log_warn("not everything could be withdrawn in %d ms: what is left expires by itself",
		 STOP_GRACE_MS);
	loop_stop(loop);
}

static void on_signal(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct signalfd_siginfo info;
	struct process *process = data;

	(void)events;
	if (read(fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGHUP) {
		log_info("SIGHUP: settings are read at start only");
		return;
	}
	if (process->stopping) {
		log_warn("%s again: ending at once", strsignal((int)info.ssi_signo));
		loop_stop(loop);
		return;
	}
	process->stopping = true;
	log_info("%s: withdrawing what is in force, then ending", strsignal((int)info.ssi_signo));
	loop_timer_set(process->deadline, STOP_GRACE_MS);
	agent_stop(process->agent);
}

static int signals_open(int *ret_fd)
{
	sigset_t set;
	int fd;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

static int run(const struct options *options)
{
	struct process process = { 0 };
	clean_close int signal_fd = -1;
	struct writer *writer = NULL;
	int err;

	raise_file_limit();
	err = signals_open(&signal_fd);
	if (err < 0) {
		log_error("signals: %s", strerror(-err));
		return err;
	}
	err = loop_new(&process.loop);
	if (err < 0) {
		log_error("event loop: %s", strerror(-err));
		return err;
	}
	err = writer_new(&writer);
	if (err < 0) {
		log_error("writer thread: %s", strerror(-err));
		goto out;
	}
	log_set_sink(writer_log, writer);
	err = loop_add_fd(process.loop, signal_fd, EPOLLIN, on_signal, &process);
	if (err == 0)
		err = loop_timer_new(process.loop, on_deadline, &process, &process.deadline);
	if (err < 0) {
		log_error("event loop: %s", strerror(-err));
		goto out;
	}
	/* Says itself what went wrong: it knows which part it was. */
	err = agent_new(process.loop, options, writer, &process.agent);
	if (err < 0)
		goto out;
	err = loop_run(process.loop);
	if (err < 0)
		log_error("event loop: %s", strerror(-err));
out:
	agent_free(process.agent);
	log_set_sink(NULL, NULL);
	writer_free(writer, WRITER_GRACE_MS);
	loop_free(process.loop);
	return err;
}

int main(int argc, char *argv[], char *envp[])
{
	clean_options struct options options = { 0 };
	struct buf message;
	int result;

	/* One heap for all threads: the others allocate nothing to speak of, and each arena of its
	 * own would keep memory that BTF parsing at start has left behind. */
	mallopt(M_ARENA_MAX, 1);
	buf_init(&message, 0);
	result = options_parse(argc, argv, envp, &options, &message);
	if (result < 0) {
		fprintf(stderr, "pidwarden: %s\n", message.data ? message.data : strerror(-result));
		buf_done(&message);
		return EXIT_USAGE;
	}
	if (result == OPTIONS_PRINT) {
		fputs(message.data ? message.data : "", stdout);
		buf_done(&message);
		return fflush(stdout) == 0 ? 0 : 1;
	}
	buf_done(&message);
	log_configure(options.log_level, options.log_format);
	return run(&options) < 0 ? 1 : 0;
}
