// SPDX-License-Identifier: Apache-2.0
#include "local.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/clean.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/parse.h"
#include "generator.h"
#include "report.h"
#include "serve.h"
#include "views.h"

#define PROGRESS_MS 1000
#define TOKEN_SIZE 4096

struct local {
	const struct options *options;
	struct loop *loop;
	struct node node;
	struct generator *generator;
	struct serve *serve;
	int signal_fd;
	char token[TOKEN_SIZE]; /* empty: none wanted */
};

/* In time that depends on the lengths only. */
static bool token_matches(const char *wanted, const char *given)
{
	size_t len = strlen(wanted), given_len = given ? strlen(given) : 0;
	unsigned char difference = len != given_len;

	for (size_t i = 0; i < len; i++)
		difference |= (unsigned char)(wanted[i] ^ (i < given_len ? given[i] : 0));
	return difference == 0;
}

static unsigned int answer_throttle(struct local *local, const struct serve_request *request,
				    struct buf *answer)
{
	struct generator *generator = local->generator;
	struct throttle_hint hint;
	char why[128];
	int err;

	err = throttle_parse(request->body, request->body_len, &hint, why, sizeof(why));
	if (err < 0) {
		buf_str(answer, "{\"accepted\":false,\"reason\":");
		buf_json_string(answer, why);
		buf_str(answer, "}\n");
		return 400;
	}
	err = throttle_apply(&generator->throttle, &hint, loop_now_ms(local->loop));
	if (err == -ESTALE) {
		buf_str(answer,
			"{\"accepted\":false,\"reason\":\"a newer sequence is in force\"}\n");
		return 200;
	}
	if (err < 0) {
		buf_str(answer, "{\"accepted\":false,\"reason\":\"hints of too many nodes\"}\n");
		return 503;
	}
	if (hint.max_concurrent == THROTTLE_NONE)
		log_info("hint %" PRIu64 " of %s withdrawn: %s", hint.sequence,
			 hint.cluster ? "the cluster" : hint.node, hint.reason);
	else
		log_info("hint %" PRIu64 " of %s%s: at most %" PRIu64 " builds: %s", hint.sequence,
			 hint.cluster ? "the cluster" : hint.node,
			 local->options->ignore_hints ? " (ignored)" : "", hint.max_concurrent,
			 hint.reason);
	buf_printf(answer, "{\"accepted\":true,\"obeyed\":%s,\"allowed\":%" PRIu64 "}\n",
		   local->options->ignore_hints ? "false" : "true", generator_allowed(generator));
	return 200;
}

static unsigned int answer(const struct serve_request *request, struct buf *answer, void *data)
{
	static const struct {
		const char *path;
		const char *method;
	} routes[] = { { "/pods", "GET" },
		       { "/pods/", "GET" },
		       { "/status", "GET" },
		       { "/throttle", "POST" },
		       { "/start", "POST" } };
	struct local *local = data;
	int64_t now_ms = loop_now_ms(local->loop);
	const char *path = NULL;

	if (strcmp(request->path, "/healthz") == 0 && strcmp(request->method, "GET") == 0) {
		buf_str(answer, "ok\n");
		return 200;
	}
	if (local->token[0] != '\0' && !token_matches(local->token, request->token)) {
		buf_str(answer, "Unauthorized\n");
		return 401;
	}
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		if (strcmp(request->path, routes[i].path) != 0)
			continue;
		if (strcmp(request->method, routes[i].method) != 0) {
			buf_str(answer, "Method Not Allowed\n");
			return 405;
		}
		path = routes[i].path;
	}
	if (!path) {
		buf_str(answer, "404 page not found\n");
		return 404;
	}
	if (strcmp(path, "/throttle") == 0)
		return answer_throttle(local, request, answer);
	if (strcmp(path, "/start") == 0) {
		generator_start(local->generator, now_ms);
		buf_str(answer, "{\"started\":true}\n");
	} else if (strcmp(path, "/status") == 0) {
		views_status(answer, local->generator, now_ms);
	} else {
		views_pods(answer, local->generator);
	}
	return 200;
}

static void reap(struct local *local)
{
	int status;
	pid_t tgid;

	/* Orphans of killed builds come here too (PR_SET_CHILD_SUBREAPER). */
	while ((tgid = waitpid(-1, &status, WNOHANG)) > 0)
		generator_reaped(local->generator, tgid, status);
}

static void on_signal(struct loop *loop, int fd, uint32_t events, void *data)
{
	struct signalfd_siginfo info;
	struct local *local = data;

	(void)events;
	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGCHLD)
			continue;
		log_info("signal %u: ending the running builds", info.ssi_signo);
		generator_stop(local->generator, loop_now_ms(loop));
	}
	reap(local);
}

static void on_tick(struct loop *loop, void *data)
{
	struct local *local = data;

	reap(local);
	generator_tick(local->generator, loop_now_ms(loop));
	if (local->generator->state == GENERATOR_DONE)
		loop_stop(loop);
}

static void on_progress(struct loop *loop, void *data)
{
	clean(buf_done) struct buf line = { 0 };
	struct local *local = data;

	if (local->generator->state == GENERATOR_PAUSED)
		return;
	buf_init(&line, 4096);
	report_progress(&line, local->generator, loop_now_ms(loop));
	fwrite(line.data, 1, line.len, stdout);
	fflush(stdout); /* a fork must find nothing buffered */
}

static int watch_signals(struct local *local)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGCHLD);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
		return -errno;
	/* A progress line to a closed pipe must not leave the cgroups behind. */
	signal(SIGPIPE, SIG_IGN);
	local->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	if (local->signal_fd < 0)
		return -errno;
	return loop_add_fd(local->loop, local->signal_fd, EPOLLIN, on_signal, local);
}

static int write_file(const char *path, const struct buf *text)
{
	clean_close int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return -errno;
	if (text->err != 0)
		return text->err;
	if (write(fd, text->data, text->len) != (ssize_t)text->len)
		return errno ? -errno : -EIO;
	return 0;
}

/* Written whole before it gets its name, so that who waits for the file never reads half. */
static int write_ready(const struct local *local)
{
	clean(buf_done) struct buf text = { 0 };
	char path[PATH_MAX];
	int err;

	if (!local->options->ready_file)
		return 0;
	buf_init(&text, 2 * PATH_MAX);
	buf_printf(&text, "address=%s\nnode_cgroup=%s\ntgid=%d\n", serve_address(local->serve),
		   local->node.dir, getpid());
	if (snprintf(path, sizeof(path), "%s.new", local->options->ready_file) >= (int)sizeof(path))
		return -ENAMETOOLONG;
	err = write_file(path, &text);
	if (err == 0 && rename(path, local->options->ready_file) < 0)
		err = -errno;
	return err;
}

static int read_token(struct local *local)
{
	int len;

	if (!local->options->token_file)
		return 0;
	len = read_small_file(AT_FDCWD, local->options->token_file, local->token,
			      sizeof(local->token));
	if (len < 0)
		return len;
	local->token[strcspn(local->token, "\r\n")] = '\0';
	return local->token[0] != '\0' ? 0 : -EINVAL;
}

static int set_up(struct local *local)
{
	const struct options *options = local->options;
	struct loop_timer *tick, *progress;
	char why[PATH_MAX + 256];
	int err;

	err = read_token(local);
	if (err < 0) {
		log_error("--token-file %s: %s", options->token_file,
			  err == -EINVAL ? "no token in it" : strerror(-err));
		return err;
	}
	err = loop_new(&local->loop);
	if (err == 0)
		err = watch_signals(local);
	if (err < 0) {
		log_error("no event loop: %s", strerror(-err));
		return err;
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	err = serve_new(local->loop, options->listen, answer, local, &local->serve);
	if (err < 0) {
		log_error("--listen %s: %s", options->listen,
			  err == -EINVAL ? "no address:port" : strerror(-err));
		return err;
	}
	err = node_open(&local->node, options->node_cgroup, options->node_pids, why, sizeof(why));
	if (err < 0) {
		log_error("%s", why);
		return err;
	}
	err = generator_new(options, &local->node, &local->generator);
	if (err == 0)
		err = loop_timer_new(local->loop, on_tick, local, &tick);
	if (err == 0)
		err = loop_timer_new(local->loop, on_progress, local, &progress);
	if (err < 0)
		return err;
	loop_timer_every(tick, GENERATOR_TICK_MS);
	if (options->progress)
		loop_timer_every(progress, PROGRESS_MS);
	err = write_ready(local);
	if (err < 0)
		log_error("--ready-file %s: %s", options->ready_file, strerror(-err));
	return err;
}

static int summarise(const struct local *local)
{
	clean(buf_done) struct buf text = { 0 };
	int64_t now_ms = loop_now_ms(local->loop);
	int err = 0;

	buf_init(&text, 0);
	report_text(&text, local->generator, now_ms);
	fwrite(text.data, 1, text.len, stdout);
	fflush(stdout);
	if (local->options->report) {
		buf_reset(&text);
		report_json(&text, local->generator, now_ms);
		err = write_file(local->options->report, &text);
		if (err < 0)
			log_error("--report %s: %s", local->options->report, strerror(-err));
	}
	return err;
}

int local_main(const struct options *options)
{
	struct local local = {
		.options = options,
		.node = { .lock_fd = -1, .current_fd = -1 },
		.signal_fd = -1,
	};
	int err, close_err;

	err = set_up(&local);
	if (err == 0) {
		log_info("serving on http://%s, node %s", serve_address(local.serve),
			 local.node.dir);
		if (!options->paused)
			generator_start(local.generator, loop_now_ms(local.loop));
		err = loop_run(local.loop);
		if (err < 0)
			log_error("the event loop failed: %s", strerror(-err));
		else
			err = summarise(&local);
	}
	close_err = node_close(&local.node);
	if (close_err < 0)
		log_error("the stand-in node is not gone: %s", strerror(-close_err));
	serve_free(local.serve);
	generator_free(local.generator);
	loop_free(local.loop);
	if (local.signal_fd >= 0)
		close(local.signal_fd);
	if (err == -EINVAL)
		return 2;
	return err < 0 || close_err < 0 ? 1 : 0;
}
