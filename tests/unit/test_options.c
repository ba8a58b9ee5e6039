// SPDX-License-Identifier: Apache-2.0
/* Every source, their order of strength, and each mistake with the words and the place it gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "options.h"
#include "options_table.h"
#include "options_value.h"

#define WORDS_MAX 8

static char dir[] = "/tmp/test_options.XXXXXX";
static char file_path[64];

static int make_dir(void **state)
{
	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(file_path, sizeof(file_path), "%s/config.yaml", dir);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int remove_dir(void **state)
{
	static const char *const names[] = { "config.yaml", "token", "ca.pem", "empty" };
	char path[64];

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

struct sources {
	const char *flags[WORDS_MAX]; /* without argv[0] */
	const char *envs[WORDS_MAX];
	const char *file; /* content; given by --config when not NULL */
};

static int parse(const struct sources *sources, struct options *ret_options,
		 struct buf *ret_message)
{
	char *argv[WORDS_MAX + 4] = { (char *)"pidwarden" }, *envp[WORDS_MAX + 2] = { NULL };
	int argc = 1;

	if (sources->file) {
		write_file(file_path, sources->file);
		argv[argc++] = (char *)"--config";
		argv[argc++] = file_path;
	}
	for (int i = 0; i < WORDS_MAX && sources->flags[i]; i++)
		argv[argc++] = (char *)sources->flags[i];
	for (int i = 0; i < WORDS_MAX && sources->envs[i]; i++)
		envp[i] = (char *)sources->envs[i];
	return options_parse(argc, argv, envp, ret_options, ret_message);
}

static void test_defaults(void **state)
{
	struct options options = { 0 };
	struct sources none = { 0 };
	struct buf message;
	char host[256];

	(void)state;
	buf_init(&message, 0);
	assert_int_equal(parse(&none, &options, &message), OPTIONS_RUN);
	assert_int_equal(message.len, 0);
	/* From the issue, not from the table. */
	assert_string_equal(options.config_file, "");
	assert_string_equal(options.listen, "127.0.0.1:9917");
	assert_int_equal(options.mode, OPTIONS_MODE_OBSERVE);
	assert_string_equal(options.kubelet_url, "");
	assert_string_equal(options.kubelet_token_file, "");
	assert_string_equal(options.kubelet_ca_file, "");
	assert_false(options.kubelet_insecure_skip_verify);
	assert_int_equal(options.kubelet_interval_ms, 10000);
	assert_string_equal(options.cgroup_root, "");
	assert_string_equal(options.proc_root, "/proc");
	assert_string_equal(options.node_cgroup, "");
	assert_int_equal(gethostname(host, sizeof(host)), 0);
	assert_int_equal(strcasecmp(options.node_name, host), 0);
	assert_int_equal(options.interval_ms, 1000);
	assert_true(options.headroom_enter_ratio > 0.2499 && options.headroom_enter_ratio < 0.2501);
	assert_true(options.headroom_leave_ratio > 0.3499 && options.headroom_leave_ratio < 0.3501);
	assert_true(options.reserve_ratio > 0.0999 && options.reserve_ratio < 0.1001);
	assert_int_equal(options.min_dwell_ms, 10000);
	assert_int_equal(options.pids_per_build, 86);
	assert_string_equal(options.webhook_url, "");
	assert_int_equal(options.webhook_ttl_ms, 30000);
	assert_string_equal(options.state_dir, "/run/pidwarden");
	assert_false(options.no_bpf);
	assert_int_equal(options.log_level, LOG_LEVEL_INFO);
	assert_int_equal(options.log_format, LOG_FORMAT_TEXT);
	options_done(&options);
	options_done(&options);
	options_done(NULL);
	buf_done(&message);
}

/* For each row of the table, a value that is not its default. */
static const char *const other_values[][3] = {
	/* name, as written, as shown (NULL: the same) */
	{ "listen", "[::1]:0" },
	{ "mode", "throttle" },
	{ "node-name", "node-7.example" },
	{ "interval", "250ms" },
	{ "headroom-enter", "12.5%" },
	{ "headroom-leave", "99%" },
	{ "reserve", "0%" },
	{ "min-dwell", "90s" },
	{ "pids-per-build", "4194304" },
	{ "kubelet-url", "https://[fd00::1]:10250/", "https://[fd00::1]:10250" },
	{ "kubelet-token-file", "/dev/null/../x" },
	{ "kubelet-ca-file", "ca.pem" },
	{ "kubelet-insecure-skip-verify", "true" },
	{ "kubelet-interval", "1m" },
	{ "webhook-url", "http://127.0.0.1:8080/throttle?key=secret",
	  "http://127.0.0.1:8080/throttle?..." },
	{ "webhook-ttl", "1h" },
	{ "cgroup-root", "/sys/", "/sys" },
	{ "proc-root", "/" },
	{ "node-cgroup", "/sys/kernel//", "/sys/kernel" },
	{ "state-dir", "/tmp/x" },
	{ "no-bpf", "true" },
	{ "log-level", "debug" },
	{ "log-format", "json" },
};

/* Checks that would read files do not belong to these tests. */
static bool needs_company(const char *name)
{
	return strcmp(name, "mode") == 0 || strstr(name, "-file") != NULL;
}

static void test_every_option_from_every_source(void **state)
{
	size_t n = sizeof(other_values) / sizeof(other_values[0]), seen = 0;

	(void)state;
	for (size_t i = 0; i < options_table_len; i++)
		seen += options_table[i].type != OPTIONS_TYPE_ACTION &&
			!options_table[i].not_in_file;
	assert_int_equal(seen, n);
	for (size_t i = 0; i < n; i++) {
		const char *name = other_values[i][0], *value = other_values[i][1];
		const char *shown = other_values[i][2] ? other_values[i][2] : value;
		const struct option_row *row = options_table_find(name, strlen(name));
		char flag[128], env[128], env_name[OPTIONS_ENV_MAX], line[128];

		assert_non_null(row);
		if (needs_company(name))
			continue;
		options_table_env_name(row, env_name, sizeof(env_name));
		snprintf(flag, sizeof(flag), "--%s=%s", name, value);
		snprintf(env, sizeof(env), "%s=%s", env_name, value);
		snprintf(line, sizeof(line), "%s: %s%s%s\n", name, value[0] == '[' ? "'" : "",
			 value, value[0] == '[' ? "'" : "");
		for (int source = 0; source < 3; source++) {
			struct sources sources = {
				.flags = { source == 0 ? flag : NULL },
				.envs = { source == 1 ? env : NULL },
				.file = source == 2 ? line : NULL,
			};
			struct options options = { 0 };
			struct buf message, value_text;

			buf_init(&message, 0);
			buf_init(&value_text, 0);
			if (parse(&sources, &options, &message) != OPTIONS_RUN)
				fail_msg("%s from source %d: %s", name, source, message.data);
			options_value_write(row, &options, &value_text);
			assert_string_equal(value_text.data, shown);
			options_done(&options);
			buf_done(&message);
			buf_done(&value_text);
		}
	}
}

/* Bit 0: flag, 1: environment, 2: file. The strongest that is there wins. */
static void test_precedence(void **state)
{
	(void)state;
	for (unsigned int there = 0; there < 8; there++) {
		struct sources sources = {
			.flags = { there & 1 ? "--interval" : NULL, "2s" },
			.envs = { there & 2 ? "PIDWARDEN_INTERVAL=3s" : NULL },
			.file = there & 4 ? "interval: 4s\n" : NULL,
		};
		int64_t want = there & 1 ? 2000 : there & 2 ? 3000 : there & 4 ? 4000 : 1000;
		struct options options = { 0 };
		struct buf message;

		buf_init(&message, 0);
		assert_int_equal(parse(&sources, &options, &message), OPTIONS_RUN);
		assert_int_equal(options.interval_ms, want);
		options_done(&options);
		buf_done(&message);
	}
}

static void test_forms(void **state)
{
	struct sources sources = {
		.flags = { "--no-bpf", "--kubelet-insecure-skip-verify=false", "--log-level=warn",
			   "--log-level", "debug", "--webhook-url=" },
		.envs = { "PIDWARDEN_KUBELET_INSECURE_SKIP_VERIFY=true", "HOME=/",
			  "PIDWARDEN_SERVICE_HOST=10.0.0.1", "PIDWARDEN_PORT=tcp://10.0.0.1:9917",
			  "PIDWARDEN_PORT_9917_TCP_ADDR=10.0.0.1",
			  "PIDWARDEN_COORDINATOR_SERVICE_PORT_HTTP=80",
			  "PIDWARDEN_WEBHOOK_URL=http://a", "PIDWARDENX=1" },
	};
	struct options options = { 0 };
	struct buf message;

	(void)state;
	buf_init(&message, 0);
	if (parse(&sources, &options, &message) != OPTIONS_RUN)
		fail_msg("%s", message.data);
	assert_true(options.no_bpf);
	assert_false(options.kubelet_insecure_skip_verify);
	assert_int_equal(options.log_level, LOG_LEVEL_DEBUG);
	/* Emptied by the stronger source. */
	assert_string_equal(options.webhook_url, "");
	options_done(&options);
	buf_done(&message);
}

/* The file may be named by the environment as well; a flag names another. */
static void test_config_from_environment(void **state)
{
	char env[128];
	struct sources sources = { .envs = { env } };
	struct options options = { 0 };
	struct buf message;

	(void)state;
	snprintf(env, sizeof(env), "PIDWARDEN_CONFIG=%s", file_path);
	write_file(file_path, "%YAML 1.1\n---\nno-bpf: true\n...\n");
	buf_init(&message, 0);
	if (parse(&sources, &options, &message) != OPTIONS_RUN)
		fail_msg("%s", message.data);
	assert_true(options.no_bpf);
	assert_string_equal(options.config_file, file_path);
	options_done(&options);
	buf_done(&message);
}

static void test_print(void **state)
{
	static const struct {
		struct sources sources;
		const char *begins;
	} rows[] = {
		{ { .flags = { "--help" } }, "Usage: pidwarden " },
		{ { .flags = { "--version" } }, "pidwarden " PIDWARDEN_VERSION "\n" },
		{ { .flags = { "--check-config" } }, "The configuration is valid." },
		{ { .flags = { "--check-config", "--help" } }, "Usage: " },
		{ { .flags = { "--help", "--version" } }, "Usage: " },
		/* Help does not depend on what it is to help with. */
		{ { .flags = { "--help" }, .envs = { "PIDWARDEN_MODE=x" } }, "Usage: " },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct options options = { 0 };
		struct buf message;

		buf_init(&message, 0);
		assert_int_equal(parse(&rows[i].sources, &options, &message), OPTIONS_PRINT);
		assert_memory_equal(message.data, rows[i].begins, strlen(rows[i].begins));
		assert_int_equal(message.data[message.len - 1], '\n');
		assert_null(options.listen);
		buf_done(&message);
	}
}

static void test_check_config_names_sources(void **state)
{
	struct sources sources = {
		.flags = { "--check-config", "--interval=2s" },
		.envs = { "PIDWARDEN_RESERVE=5%" },
		.file = "reserve: 6%\nmin-dwell: 3s\n",
	};
	static const char *const lines[] = {
		"  interval                      2s                       (flag)\n",
		"  reserve                       5%                       (environment)\n",
		"  min-dwell                     3s                       (file)\n",
		"  proc-root                     /proc                    (default)\n",
	};
	struct options options = { 0 };
	struct buf message;

	(void)state;
	buf_init(&message, 0);
	assert_int_equal(parse(&sources, &options, &message), OPTIONS_PRINT);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_non_null(strstr(message.data, lines[i]));
	buf_done(&message);
}

/* FILE in a message stands for the file's path, DIR for the folder's. */
static const struct {
	struct sources sources;
	const char *message;
} mistakes[] = {
	/* the command line */
	{ { .flags = { "--frobnicate" } }, "--frobnicate: unknown option" },
	{ { .flags = { "--intervall=1s" } },
	  "--intervall: unknown option; did you mean --interval?" },
	{ { .flags = { "--kubelet_url", "x" } },
	  "--kubelet_url: unknown option; did you mean --kubelet-url?" },
	{ { .flags = { "--\x1b[2J=1" } }, "--\\x1b[2J: unknown option" },
	{ { .flags = { "-v" } }, "unexpected argument \"-v\"; --help lists the options" },
	{ { .flags = { "--no-bpf", "false" } },
	  "unexpected argument \"false\"; --help lists the options" },
	{ { .flags = { "--" } }, "unexpected argument \"--\"; --help lists the options" },
	{ { .flags = { "--=x" } }, "unexpected argument \"--=x\"; --help lists the options" },
	{ { .flags = { "" } }, "unexpected argument \"\"; --help lists the options" },
	{ { .flags = { "--mode" } }, "--mode: needs a value: --mode MODE" },
	{ { .flags = { "--mode", "--no-bpf" } }, "--mode: needs a value: --mode MODE" },
	{ { .flags = { "--help=yes" } }, "--help: takes no value" },
	{ { .flags = { "--no-bpf=yes" } }, "--no-bpf: \"yes\" is neither true nor false" },
	/* a mistake is one even where a later flag repairs it */
	{ { .flags = { "--mode=fast", "--mode=observe" } },
	  "--mode: \"fast\" is none of observe, throttle" },
	/* values */
	{ { .flags = { "--interval=5" } },
	  "--interval: \"5\" is not a duration: whole numbers with a unit, as in 500ms, 1s or 1m30s" },
	{ { .flags = { "--interval=99ms" } }, "--interval: \"99ms\" is out of range: 100ms to 1m" },
	{ { .flags = { "--interval=1m1ms" } },
	  "--interval: \"1m1ms\" is out of range: 100ms to 1m" },
	{ { .flags = { "--interval=99999999999999999999h" } },
	  "--interval: \"99999999999999999999h\" is out of range: 100ms to 1m" },
	{ { .flags = { "--pids-per-build=0" } },
	  "--pids-per-build: \"0\" is out of range: 1 to 4194304" },
	{ { .flags = { "--pids-per-build=18446744073709551616" } },
	  "--pids-per-build: \"18446744073709551616\" is out of range: 1 to 4194304" },
	{ { .flags = { "--pids-per-build=-1" } },
	  "--pids-per-build: \"-1\" is not a whole number" },
	{ { .flags = { "--reserve=0.1" } },
	  "--reserve: \"0.1\" is not a percentage, as in 25% or 12.5%" },
	{ { .flags = { "--reserve=1.%" } },
	  "--reserve: \"1.%\" is not a percentage, as in 25% or 12.5%" },
	{ { .flags = { "--reserve=%" } },
	  "--reserve: \"%\" is not a percentage, as in 25% or 12.5%" },
	{ { .flags = { "--reserve=1.234%" } },
	  "--reserve: \"1.234%\" is not a percentage, as in 25% or 12.5%" },
	{ { .flags = { "--reserve=90.01%" } }, "--reserve: \"90.01%\" is out of range: 0% to 90%" },
	{ { .flags = { "--reserve=99999999999999999999%" } },
	  "--reserve: \"99999999999999999999%\" is out of range: 0% to 90%" },
	{ { .flags = { "--listen=9917" } },
	  "--listen: \"9917\" has no port from 0 to 65535 after the address" },
	{ { .flags = { "--listen=127.0.0.1:65536" } },
	  "--listen: \"127.0.0.1:65536\" has no port from 0 to 65535 after the address" },
	{ { .flags = { "--listen=localhost:1" } },
	  "--listen: \"localhost:1\" has no IP address before the port, as 127.0.0.1:9917 or "
	  "[::1]:9917 has" },
	{ { .flags = { "--listen=::1:1" } },
	  "--listen: \"::1:1\" has no IP address before the port, as 127.0.0.1:9917 or [::1]:9917 has" },
	{ { .flags = { "--listen=" } },
	  "--listen: \"\" has no port from 0 to 65535 after the address" },
	{ { .flags = { "--proc-root=" } }, "--proc-root: may not be empty" },
	{ { .flags = { "--proc-root=proc" } }, "--proc-root: \"proc\" is not an absolute path" },
	{ { .flags = { "--node-name=a\nb" } },
	  "--node-name: \"a\\x0ab\" holds control characters" },
	{ { .flags = { "--node-name=a\xff" } }, "--node-name: \"a\xef\xbf\xbd\" is not UTF-8" },
	{ { .flags = { "--kubelet-url=node:10250" } },
	  "--kubelet-url: \"node:10250\" does not begin with http:// or https://" },
	{ { .flags = { "--kubelet-url=ftp://node" } },
	  "--kubelet-url: \"ftp://node\" does not begin with http:// or https://" },
	{ { .flags = { "--kubelet-url=https://" } }, "--kubelet-url: \"https://\" has no host" },
	{ { .flags = { "--kubelet-url=https://:10250" } },
	  "--kubelet-url: \"https://:10250\" has no host" },
	{ { .flags = { "--kubelet-url=https://n:0" } },
	  "--kubelet-url: \"https://n:0\" has no port from 1 to 65535 after the host" },
	{ { .flags = { "--kubelet-url=https://n:" } },
	  "--kubelet-url: \"https://n:\" has no port from 1 to 65535 after the host" },
	{ { .flags = { "--kubelet-url=https://n o" } },
	  "--kubelet-url: \"https://n o\" holds a character that must be percent-encoded in a URL" },
	{ { .flags = { "--kubelet-url=https://$(NODE_IP):10250" } },
	  "--kubelet-url: \"https://$(NODE_IP):10250\" has a host with a character that no host name "
	  "has" },
	{ { .flags = { "--kubelet-url=https://[::1" } },
	  "--kubelet-url: \"https://[::1\" has no IPv6 address in its brackets" },
	{ { .flags = { "--kubelet-url=https://[::g]:1" } },
	  "--kubelet-url: \"https://[::g]:1\" has no IPv6 address in its brackets" },
	{ { .flags = { "--kubelet-url=https://u:p@node" } },
	  "--kubelet-url: \"https://u:p@node\" holds a user or password, which would end up in logs; "
	  "use a token file" },
	{ { .flags = { "--webhook-url=http://a/#b" } },
	  "--webhook-url: \"http://a/#b\" has a fragment (#), which is never sent" },
	{ { .flags = { "--kubelet-url=https://a/?b" } },
	  "kubelet-url: a base URL has no query (?): /pods is appended" },
	/* the environment */
	{ { .envs = { "PIDWARDEN_INTERVAL=" } },
	  "PIDWARDEN_INTERVAL: \"\" is not a duration: whole numbers with a unit, as in 500ms, 1s or "
	  "1m30s" },
	{ { .envs = { "PIDWARDEN_NODENAME=x" } },
	  "PIDWARDEN_NODENAME: unknown environment variable; did you mean PIDWARDEN_NODE_NAME?" },
	{ { .envs = { "PIDWARDEN_interval=1s" } },
	  "PIDWARDEN_interval: unknown environment variable; did you mean PIDWARDEN_INTERVAL?" },
	{ { .envs = { "PIDWARDEN_\n=x" } }, "PIDWARDEN_\\x0a: unknown environment variable" },
	{ { .envs = { "PIDWARDEN_HELP=1" } }, "PIDWARDEN_HELP: unknown environment variable" },
	{ { .envs = { "PIDWARDEN_PORT_X=1" } }, "PIDWARDEN_PORT_X: unknown environment variable" },
	/* the weaker source's mistake counts too */
	{ { .flags = { "--mode=observe" }, .envs = { "PIDWARDEN_MODE=off" } },
	  "PIDWARDEN_MODE: \"off\" is none of observe, throttle" },
	{ { .flags = { "--interval=1s" }, .file = "interval: 1\n" },
	  "FILE:1:11: interval: \"1\" is not a duration: whole numbers with a unit, as in 500ms, 1s or "
	  "1m30s" },
	/* the file: keys */
	{ { .file = "# comment\n\nfrobnicate: 1\n" }, "FILE:3:1: \"frobnicate\": unknown key" },
	{ { .file = "interval: 1s\nkubeletUrl: x\n" },
	  "FILE:2:1: \"kubeletUrl\": unknown key; did you mean kubelet-url?" },
	{ { .file = "interval: 1s\nmode: observe\n\ninterval: 1s\n" },
	  "FILE:4:1: interval: given twice, first in line 1" },
	{ { .file = "{no-bpf: true, no-bpf: false}\n" },
	  "FILE:1:16: no-bpf: given twice, first in line 1" },
	{ { .file = "help: true\n" }, "FILE:1:1: \"help\": only as a flag, not in the file" },
	{ { .file = "config: x\n" }, "FILE:1:1: \"config\": only as a flag, not in the file" },
	{ { .file = "\"a\\nb\": x\n" }, "FILE:1:1: \"a\\x0ab\": unknown key" },
	/* the file: types */
	{ { .file = "no-bpf: \"true\"\n" },
	  "FILE:1:9: no-bpf: is quoted text, but needs true or false" },
	{ { .file = "no-bpf: yes\n" }, "FILE:1:9: no-bpf: \"yes\" is neither true nor false" },
	{ { .file = "no-bpf: 1\n" }, "FILE:1:9: no-bpf: \"1\" is neither true nor false" },
	{ { .file = "pids-per-build: '86'\n" },
	  "FILE:1:17: pids-per-build: is quoted text, but needs a number" },
	{ { .file = "pids-per-build: many\n" },
	  "FILE:1:17: pids-per-build: \"many\" is not a whole number" },
	{ { .file = "node-name: 42\n" },
	  "FILE:1:12: node-name: is a number, but needs text (in quotes)" },
	{ { .file = "node-name: true\n" },
	  "FILE:1:12: node-name: is a boolean, but needs text (in quotes)" },
	{ { .file = "webhook-url:\n" }, "FILE:1:13: webhook-url: is nothing, but needs URL" },
	{ { .file = "webhook-url: null\n" }, "FILE:1:14: webhook-url: is nothing, but needs URL" },
	{ { .file = "interval: true\n" }, "FILE:1:11: interval: is a boolean, but needs DURATION" },
	{ { .file = "mode: [observe]\n" }, "FILE:1:7: needs one value, not a list" },
	{ { .file = "mode:\n  x: y\n" }, "FILE:2:3: needs one value, not a map" },
	/* together */
	{ { .flags = { "--headroom-enter=40%" } },
	  "headroom-leave (35%) must be larger than headroom-enter (40%)" },
	{ { .flags = { "--headroom-enter=35%" } },
	  "headroom-leave (35%) must be larger than headroom-enter (35%)" },
	{ { .flags = { "--reserve=25.01%" } },
	  "headroom-enter (25%) must not be less than reserve (25.01%)" },
	{ { .flags = { "--mode=throttle" } },
	  "mode throttle needs a lever to throttle with, and none is configured: give webhook-url, or "
	  "use mode observe" },
	{ { .flags = { "--mode=throttle", "--webhook-url=http://a", "--webhook-ttl=2s",
		       "--interval=1001ms" } },
	  "webhook-ttl must be at least twice the interval, or hints expire before they are renewed" },
	{ { .flags = { "--kubelet-ca-file=x", "--kubelet-insecure-skip-verify" } },
	  "kubelet-ca-file and kubelet-insecure-skip-verify contradict each other: one checks the "
	  "certificate, the other does not" },
	{ { .flags = { "--kubelet-token-file=x", "--kubelet-url=http://10.0.0.1:10255" } },
	  "kubelet-token-file: would be sent unencrypted to another machine; kubelet-url must begin "
	  "with https://" },
	{ { .flags = { "--kubelet-token-file=x", "--kubelet-url=http://127.example.com" } },
	  "kubelet-token-file: would be sent unencrypted to another machine; kubelet-url must begin "
	  "with https://" },
	{ { .flags = { "--kubelet-token-file=/nonexistent/t" } },
	  "kubelet-token-file: \"/nonexistent/t\": cannot be read: No such file or directory" },
	{ { .flags = { "--kubelet-token-file=/" } },
	  "kubelet-token-file: \"/\": cannot be read: Is a directory" },
	{ { .flags = { "--kubelet-token-file=/dev/null" } },
	  "kubelet-token-file: \"/dev/null\": cannot be read: Invalid argument" },
	{ { .flags = { "--kubelet-ca-file=/nonexistent/ca" } },
	  "kubelet-ca-file: \"/nonexistent/ca\": cannot be read: No such file or directory" },
	{ { .flags = { "--proc-root=/nonexistent" } },
	  "proc-root: \"/nonexistent\": No such file or directory" },
	{ { .flags = { "--node-cgroup=/dev/null" } },
	  "node-cgroup: \"/dev/null\": is not a directory" },
	{ { .flags = { "--cgroup-root=/nonexistent" } },
	  "cgroup-root: \"/nonexistent\": No such file or directory" },
	{ { .flags = { "--config=/nonexistent.yaml" } },
	  "/nonexistent.yaml: No such file or directory" },
	{ { .flags = { "--config=/dev/zero" } }, "/dev/zero: is not a regular file" },
	{ { .flags = { "--config=/" } }, "/: is not a regular file" },
	/* --check-config checks */
	{ { .flags = { "--check-config", "--mode=throttle" } },
	  "mode throttle needs a lever to throttle with, and none is configured: give webhook-url, or "
	  "use mode observe" },
};

static void test_mistakes(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(mistakes[0]); i++) {
		const char *want = mistakes[i].message;
		struct options options = { 0 };
		struct buf message, full;
		int err;

		buf_init(&message, 0);
		buf_init(&full, 0);
		if (strncmp(want, "FILE", 4) == 0) {
			buf_str(&full, file_path);
			want += 4;
		}
		buf_str(&full, want);
		err = parse(&mistakes[i].sources, &options, &message);
		assert_string_equal(message.data ? message.data : "", full.data);
		assert_int_equal(err, -EINVAL);
		/* Written only on success. */
		assert_null(options.listen);
		buf_done(&message);
		buf_done(&full);
	}
}

static void test_long_value_is_cut(void **state)
{
	char flag[6000];
	struct sources sources = { .flags = { flag } };
	struct options options = { 0 };
	struct buf message;

	(void)state;
	memset(flag, 'x', sizeof(flag) - 1);
	flag[sizeof(flag) - 1] = '\0';
	memcpy(flag, "--node-name=", strlen("--node-name="));
	buf_init(&message, 0);
	assert_int_equal(parse(&sources, &options, &message), -EINVAL);
	assert_in_range(message.len, 60, 160);
	assert_non_null(strstr(message.data, "xxx...\" is too long: 4096 bytes at most"));
	buf_done(&message);
}

static const struct {
	const char *content;
	const char *defect; /* NULL: fine */
} tokens[] = {
	{ "abc.def-ghi_jkl", NULL },
	{ "abc\n", NULL },
	{ "abc\r\n", NULL },
	{ "", ": is empty" },
	{ "\n", ": is empty" },
	{ "abc\nX-Evil: 1", ": is not one line of visible characters" },
	{ "abc def", ": is not one line of visible characters" },
	{ "abc\xc3\xbc", ": is not one line of visible characters" },
};

static void test_token_file(void **state)
{
	char path[64], flag[128];
	struct sources sources = { .flags = { flag, "--kubelet-url=http://127.0.0.1:10255" } };

	(void)state;
	snprintf(path, sizeof(path), "%s/token", dir);
	snprintf(flag, sizeof(flag), "--kubelet-token-file=%s", path);
	for (size_t i = 0; i < sizeof(tokens) / sizeof(tokens[0]); i++) {
		struct options options = { 0 };
		struct buf message;
		int err;

		write_file(path, tokens[i].content);
		buf_init(&message, 0);
		err = parse(&sources, &options, &message);
		assert_int_equal(err, tokens[i].defect ? -EINVAL : OPTIONS_RUN);
		if (tokens[i].defect)
			assert_non_null(strstr(message.data, tokens[i].defect));
		options_done(&options);
		buf_done(&message);
	}
}

static void test_ca_file(void **state)
{
	char path[64], flag[128];
	struct sources sources = { .flags = { flag } };
	struct options options = { 0 };
	struct buf message;

	(void)state;
	snprintf(path, sizeof(path), "%s/ca.pem", dir);
	snprintf(flag, sizeof(flag), "--kubelet-ca-file=%s", path);
	buf_init(&message, 0);
	write_file(path, "-----BEGIN PRIVATE KEY-----\n");
	assert_int_equal(parse(&sources, &options, &message), -EINVAL);
	assert_non_null(strstr(message.data, "holds no certificate in PEM form"));
	buf_reset(&message);
	write_file(path, "text before\n-----BEGIN CERTIFICATE-----\n");
	assert_int_equal(parse(&sources, &options, &message), OPTIONS_RUN);
	options_done(&options);
	buf_done(&message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_every_option_from_every_source),
		cmocka_unit_test(test_precedence),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_config_from_environment),
		cmocka_unit_test(test_print),
		cmocka_unit_test(test_check_config_names_sources),
		cmocka_unit_test(test_mistakes),
		cmocka_unit_test(test_long_value_is_cut),
		cmocka_unit_test(test_token_file),
		cmocka_unit_test(test_ca_file),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
