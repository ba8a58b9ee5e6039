// SPDX-License-Identifier: Apache-2.0
#include "options_table.h"

#include <string.h>

#include "options.h"

#define AT(field) .offset = offsetof(struct options, field)

#define SECOND 1000
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define PERCENT 100

/* The kernel's PID_MAX_LIMIT on 64 bit (include/linux/threads.h): no build can hold more. */
#define PIDS_MAX 4194304

/* In the order in which --help and the README show them. */
const struct option_row options_table[] = {
	{
		.name = "config",
		.type = OPTIONS_TYPE_FILE,
		AT(config_file),
		.fallback = "",
		.fallback_help = "none",
		.not_in_file = true,
		.value_name = "FILE",
		.help = "YAML file with these options as its keys",
	},
	{
		.name = "listen",
		.type = OPTIONS_TYPE_LISTEN,
		AT(listen),
		.fallback = "127.0.0.1:9917",
		.required = true,
		.value_name = "ADDRESS:PORT",
		.help = "where metrics, API and status page are served; port 0 takes a free one",
	},
	{
		.name = "mode",
		.type = OPTIONS_TYPE_CHOICE,
		AT(mode),
		.fallback = "observe",
		.choices = { "observe", "throttle" },
		.value_name = "MODE",
		.help = "observe only says what would be done, throttle does it",
	},
	{
		.name = "node-name",
		.type = OPTIONS_TYPE_TEXT,
		AT(node_name),
		.fallback = "",
		.fallback_help = "the host's name",
		.value_name = "NAME",
		.help = "name of this node in metrics and hints",
	},
	{
		.name = "interval",
		.type = OPTIONS_TYPE_DURATION,
		AT(interval_ms),
		.fallback = "1s",
		.min = 100,
		.max = MINUTE,
		.value_name = "DURATION",
		.help = "time between two readings of the node",
	},
	{
		.name = "headroom-enter",
		.type = OPTIONS_TYPE_RATIO,
		AT(headroom_enter_ratio),
		.fallback = "25%",
		.min = 1 * PERCENT,
		.max = 99 * PERCENT,
		.value_name = "PERCENT",
		.help = "throttle when less than this share of the binding limit is expected to stay free",
	},
	{
		.name = "headroom-leave",
		.type = OPTIONS_TYPE_RATIO,
		AT(headroom_leave_ratio),
		.fallback = "35%",
		.min = 1 * PERCENT,
		.max = 99 * PERCENT,
		.value_name = "PERCENT",
		.help = "stop throttling above this share; larger than headroom-enter",
	},
	{
		.name = "reserve",
		.type = OPTIONS_TYPE_RATIO,
		AT(reserve_ratio),
		.fallback = "10%",
		.min = 0,
		.max = 90 * PERCENT,
		.value_name = "PERCENT",
		.help = "share of the binding limit that builds are never planned into",
	},
	{
		.name = "min-dwell",
		.type = OPTIONS_TYPE_DURATION,
		AT(min_dwell_ms),
		.fallback = "10s",
		.min = 0,
		.max = HOUR,
		.value_name = "DURATION",
		.help = "a level is held at least this long before it steps down",
	},
	{
		.name = "pids-per-build",
		.type = OPTIONS_TYPE_NUMBER,
		AT(pids_per_build),
		.fallback = "86",
		.min = 1,
		.max = PIDS_MAX,
		.value_name = "NUMBER",
		.help = "PIDs that one build needs at its height, believed until builds were seen",
	},
	{
		.name = "kubelet-url",
		.type = OPTIONS_TYPE_URL,
		AT(kubelet_url),
		.fallback = "",
		.fallback_help = "none: cgroups go by their own names",
		.value_name = "URL",
		.help = "base URL of this node's kubelet; /pods is appended",
	},
	{
		.name = "kubelet-token-file",
		.type = OPTIONS_TYPE_FILE,
		AT(kubelet_token_file),
		.fallback = "",
		.fallback_help = "none",
		.value_name = "FILE",
		.help = "bearer token for the kubelet, read again when it changes",
	},
	{
		.name = "kubelet-ca-file",
		.type = OPTIONS_TYPE_FILE,
		AT(kubelet_ca_file),
		.fallback = "",
		.fallback_help = "the system's",
		.value_name = "FILE",
		.help = "certificates (PEM) that may sign the kubelet's",
	},
	{
		.name = "kubelet-insecure-skip-verify",
		.type = OPTIONS_TYPE_BOOL,
		AT(kubelet_insecure_skip_verify),
		.fallback = "false",
		.help = "believe any certificate: whoever answers gets the token",
	},
	{
		.name = "kubelet-interval",
		.type = OPTIONS_TYPE_DURATION,
		AT(kubelet_interval_ms),
		.fallback = "10s",
		.min = SECOND,
		.max = 10 * MINUTE,
		.value_name = "DURATION",
		.help = "time between two readings of the pod list",
	},
	{
		.name = "webhook-url",
		.type = OPTIONS_TYPE_URL,
		AT(webhook_url),
		.fallback = "",
		.fallback_help = "none",
		.value_name = "URL",
		.help = "job generator that is asked for fewer builds",
	},
	{
		.name = "webhook-ttl",
		.type = OPTIONS_TYPE_DURATION,
		AT(webhook_ttl_ms),
		.fallback = "30s",
		.min = 2 * SECOND,
		.max = HOUR,
		.value_name = "DURATION",
		.help = "a hint that is not renewed expires after this",
	},
	{
		.name = "cgroup-root",
		.type = OPTIONS_TYPE_PATH,
		AT(cgroup_root),
		.fallback = "",
		.fallback_help = "found in the mounts",
		.value_name = "DIR",
		.help = "where cgroups are mounted (the host's /sys/fs/cgroup), or the pids hierarchy itself",
	},
	{
		.name = "proc-root",
		.type = OPTIONS_TYPE_PATH,
		AT(proc_root),
		.fallback = "/proc",
		.required = true,
		.value_name = "DIR",
		.help = "the node's procfs",
	},
	{
		.name = "node-cgroup",
		.type = OPTIONS_TYPE_PATH,
		AT(node_cgroup),
		.fallback = "",
		.fallback_help = "the whole machine",
		.value_name = "DIR",
		.help = "directory in the pids hierarchy to treat as the node, its pids.max as the "
			"node's limit",
	},
	{
		.name = "state-dir",
		.type = OPTIONS_TYPE_PATH,
		AT(state_dir),
		.fallback = "/run/pidwarden",
		.required = true,
		.value_name = "DIR",
		.help = "journal of what was done and must be undone; on tmpfs, so that it dies with "
			"the state it describes",
	},
	{
		.name = "no-bpf",
		.type = OPTIONS_TYPE_BOOL,
		AT(no_bpf),
		.fallback = "false",
		.help = "run on cgroup counts only",
	},
	{
		.name = "log-level",
		.type = OPTIONS_TYPE_CHOICE,
		AT(log_level),
		.fallback = "info",
		.choices = { "error", "warn", "info", "debug" },
		.value_name = "LEVEL",
		.help = "least important message that is logged",
	},
	{
		.name = "log-format",
		.type = OPTIONS_TYPE_CHOICE,
		AT(log_format),
		.fallback = "text",
		.choices = { "text", "json" },
		.value_name = "FORMAT",
		.help = "one line an event, as text or as JSON",
	},
	{
		.name = "check-config",
		.type = OPTIONS_TYPE_ACTION,
		.action = OPTIONS_ACTION_CHECK,
		.help = "check every option and the files they name, show what is in force, and exit",
	},
	{
		.name = "version",
		.type = OPTIONS_TYPE_ACTION,
		.action = OPTIONS_ACTION_VERSION,
		.help = "print the version and exit",
	},
	{
		.name = "help",
		.type = OPTIONS_TYPE_ACTION,
		.action = OPTIONS_ACTION_HELP,
		.help = "print this and exit",
	},
};

const size_t options_table_len = sizeof(options_table) / sizeof(options_table[0]);

_Static_assert(sizeof(options_table) / sizeof(options_table[0]) <= OPTIONS_ROWS_MAX, "raise it");
/* A choice is stored as an int, so the enums it fills must be as wide. */
_Static_assert(sizeof(enum options_mode) == sizeof(int), "stored as int");
_Static_assert(sizeof(enum log_level) == sizeof(int), "stored as int");
_Static_assert(sizeof(enum log_format) == sizeof(int), "stored as int");

const struct option_row *options_table_find(const char *name, size_t len)
{
	for (size_t i = 0; i < options_table_len; i++) {
		const struct option_row *row = &options_table[i];

		if (strlen(row->name) == len && memcmp(row->name, name, len) == 0)
			return row;
	}
	return NULL;
}

#define NEAREST_MAX 32

static char fold(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c - 'A' + 'a');
	return c == '_' || c == '.' ? '-' : c;
}

/* Levenshtein distance, letter case and kind of separator not counted. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[NEAREST_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t best = diagonal + (fold(a[i - 1]) != fold(b[j - 1]));

			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	return row[b_len];
}

const struct option_row *options_table_nearest(const char *name)
{
	size_t len = strnlen(name, NEAREST_MAX + 1), best = 3;
	const struct option_row *nearest = NULL;

	if (len > NEAREST_MAX || len < 3)
		return NULL;
	for (size_t i = 0; i < options_table_len; i++) {
		const char *candidate = options_table[i].name;
		size_t d = distance(name, len, candidate, strlen(candidate));

		if (d < best) {
			best = d;
			nearest = &options_table[i];
		}
	}
	return nearest;
}

void options_table_env_name(const struct option_row *row, char *ret_name, size_t size)
{
	size_t at = strlen(OPTIONS_ENV_PREFIX);

	memcpy(ret_name, OPTIONS_ENV_PREFIX, at);
	for (const char *c = row->name; *c != '\0' && at < size - 1; c++, at++)
		ret_name[at] = *c == '-'	      ? '_' :
			       *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') :
							*c;
	ret_name[at] = '\0';
}
