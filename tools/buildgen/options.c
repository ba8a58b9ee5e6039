// SPDX-License-Identifier: Apache-2.0
#include "options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"

enum option_type {
	OPTION_FLAG,
	OPTION_STRING,
	OPTION_NUMBER,
	OPTION_DURATION,
	OPTION_RATIO,
};

struct option_desc {
	const char *name; /* without the dashes */
	const char *env; /* NULL: only a flag */
	enum option_type type;
	size_t offset;
	double min, max; /* numbers and ratios; durations in ms */
	const char *value; /* default, as one would write it; NULL: none */
	const char *help;
};

#define AT(member) offsetof(struct options, member)

static const struct option_desc table[] = {
	{ "local", NULL, OPTION_FLAG, AT(local), 0, 0, NULL,
	  "run builds on this machine, as real processes in cgroups" },
	{ "node-cgroup", "BUILDGEN_NODE_CGROUP", OPTION_STRING, AT(node_cgroup), 0, 0, NULL,
	  "directory in the pids hierarchy that stands in for a node; made when missing "
	  "(without: pidwarden-demo-<pid> at its top)" },
	{ "node-pids", "BUILDGEN_NODE_PIDS", OPTION_NUMBER, AT(node_pids), 0, 4194304, "1200",
	  "pids.max of that node; 0 leaves it as it is" },
	{ "node-name", "BUILDGEN_NODE_NAME", OPTION_STRING, AT(node_name), 0, 0, "local",
	  "spec.nodeName of the pods" },
	{ "concurrency", "BUILD_PARALLELISM", OPTION_NUMBER, AT(concurrency), 1, 1000, "10",
	  "builds wanted at once" },
	{ "duration", "BUILDGEN_DURATION", OPTION_DURATION, AT(duration_ms), 0, 86400e3, "0s",
	  "start builds for this long, then let the running ones finish; 0s: until --builds" },
	{ "builds", "BUILDGEN_BUILDS", OPTION_NUMBER, AT(builds), 0, 1000000, "0",
	  "stop after this many builds; 0: no limit" },
	{ "start-batch", "BUILDGEN_START_BATCH", OPTION_NUMBER, AT(start_batch), 1, 1000, "3",
	  "builds started at most per --start-every" },
	{ "start-every", "BUILDGEN_START_EVERY", OPTION_DURATION, AT(start_every_ms), 1, 3600e3,
	  "1s", "time between two batches, before --time-scale" },
	{ "time-scale", "BUILDGEN_TIME_SCALE", OPTION_RATIO, AT(time_scale), 0.001, 1000, "1",
	  "stretches or shortens builds (29-88 s at 1) and the times between starts" },
	{ "threads", "THREADS_PER_PROCESS", OPTION_NUMBER, AT(threads), 1, 512, "1",
	  "threads of every build process" },
	{ "build-timeout", "BUILD_TIMEOUT", OPTION_DURATION, AT(build_timeout_ms), 1000, 86400e3,
	  "900s", "a build that runs longer has failed, before --time-scale" },
	{ "backoff-limit", "BUILDGEN_BACKOFF_LIMIT", OPTION_NUMBER, AT(backoff_limit), 0, 100, "2",
	  "how often a failed build is tried again" },
	{ "total-namespaces", "TOTAL_NAMESPACES", OPTION_NUMBER, AT(total_namespaces), 1, 1000, "2",
	  "namespaces the builds are spread over" },
	{ "namespace-prefix", "NAMESPACE_PREFIX", OPTION_STRING, AT(namespace_prefix), 0, 0,
	  "build-ns", "their names, before -1, -2, ..." },
	{ "seed", "BUILDGEN_SEED", OPTION_NUMBER, AT(seed), 0, 4294967295.0, "1",
	  "the same seed makes the same builds" },
	{ "paused", NULL, OPTION_FLAG, AT(paused), 0, 0, NULL,
	  "start no build before POST /start" },
	{ "ignore-hints", "BUILDGEN_IGNORE_HINTS", OPTION_FLAG, AT(ignore_hints), 0, 0, NULL,
	  "answer POST /throttle, but do not obey" },
	{ "listen", "BUILDGEN_LISTEN", OPTION_STRING, AT(listen), 0, 0, "127.0.0.1:9918",
	  "address of /pods, /status, /throttle; port 0: any free one" },
	{ "token-file", "BUILDGEN_TOKEN_FILE", OPTION_STRING, AT(token_file), 0, 0, NULL,
	  "bearer token that every request but /healthz must carry" },
	{ "ready-file", NULL, OPTION_STRING, AT(ready_file), 0, 0, NULL,
	  "written once serving: address=, node_cgroup=" },
	{ "report", "BUILDGEN_REPORT", OPTION_STRING, AT(report), 0, 0, NULL,
	  "JSON summary, written at the end" },
	{ "progress", NULL, OPTION_FLAG, AT(progress), 0, 0, NULL, "a line a second on stdout" },
	{ "log-level", "BUILDGEN_LOG_LEVEL", OPTION_STRING, AT(log_level), 0, 0, "info",
	  "error, warn, info or debug" },
	{ "version", NULL, OPTION_FLAG, AT(version), 0, 0, NULL, "print the version" },
	{ "help", NULL, OPTION_FLAG, AT(help), 0, 0, NULL, "print this" },
};

#define TABLE_LEN (sizeof(table) / sizeof(table[0]))

static bool in_range(const struct option_desc *desc, double value)
{
	return value >= desc->min && value <= desc->max;
}

static int set(const struct option_desc *desc, const char *value, struct options *options)
{
	char *field = (char *)options + desc->offset, *end;
	int64_t ms;
	uint64_t number;
	double ratio;

	switch (desc->type) {
	case OPTION_FLAG:
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return -EINVAL;
		*(bool *)field = strcmp(value, "true") == 0;
		return 0;
	case OPTION_STRING:
		if (*value == '\0')
			return -EINVAL;
		memcpy(field, &value, sizeof(value));
		return 0;
	case OPTION_NUMBER:
		if (parse_u64(value, &number) < 0 || !in_range(desc, (double)number))
			return -EINVAL;
		memcpy(field, &number, sizeof(number));
		return 0;
	case OPTION_DURATION:
		if (parse_duration_ms(value, &ms) < 0 || !in_range(desc, (double)ms))
			return -EINVAL;
		memcpy(field, &ms, sizeof(ms));
		return 0;
	case OPTION_RATIO:
		/* strtod takes "nan", "0x1" and white space too. */
		if (*value == '\0' || strspn(value, "0123456789.") != strlen(value))
			return -EINVAL;
		ratio = strtod(value, &end);
		if (*end != '\0' || !in_range(desc, ratio))
			return -EINVAL;
		memcpy(field, &ratio, sizeof(ratio));
		return 0;
	}
	return -EINVAL;
}

static int complain(const struct option_desc *desc, const char *name, const char *value, char *why,
		    size_t size)
{
	switch (desc->type) {
	case OPTION_FLAG:
		snprintf(why, size, "%s: \"%s\" is neither true nor false", name, value);
		break;
	case OPTION_STRING:
		snprintf(why, size, "%s: empty", name);
		break;
	case OPTION_DURATION:
		snprintf(why, size, "%s: \"%s\" is no duration (5s, 500ms) of %gs..%gs", name,
			 value, desc->min / 1000, desc->max / 1000);
		break;
	default:
		snprintf(why, size, "%s: \"%s\" is no number in %g..%g", name, value, desc->min,
			 desc->max);
	}
	return -EINVAL;
}

static int set_defaults(struct options *options, char *why, size_t size)
{
	for (size_t i = 0; i < TABLE_LEN; i++) {
		const char *value = table[i].env ? getenv(table[i].env) : NULL;

		if (table[i].value)
			set(&table[i], table[i].value, options);
		if (value && *value != '\0' && set(&table[i], value, options) < 0)
			return complain(&table[i], table[i].env, value, why, size);
	}
	return 0;
}

int options_parse(int argc, char **argv, struct options *ret_options, char *why, size_t why_size)
{
	struct options options = { 0 };
	int err;

	err = set_defaults(&options, why, why_size);
	if (err < 0)
		return err;
	for (int i = 0; i < argc; i++) {
		const char *name = argv[i], *equals = strchr(name, '='), *value;
		size_t len = equals ? (size_t)(equals - name) : strlen(name);
		const struct option_desc *desc = NULL;

		for (size_t j = 0; j < TABLE_LEN && !desc; j++)
			if (len == strlen(table[j].name) + 2 && strncmp(name, "--", 2) == 0 &&
			    strncmp(name + 2, table[j].name, len - 2) == 0)
				desc = &table[j];
		if (!desc) {
			snprintf(why, why_size, "unknown option %s (see --help)", name);
			return -EINVAL;
		}
		if (equals) {
			value = equals + 1;
		} else if (desc->type == OPTION_FLAG) {
			value = "true";
		} else if (i + 1 < argc) {
			value = argv[++i];
		} else {
			snprintf(why, why_size, "--%s wants a value", desc->name);
			return -EINVAL;
		}
		if (set(desc, value, &options) < 0) {
			char flag[64];

			snprintf(flag, sizeof(flag), "--%s", desc->name);
			return complain(desc, flag, value, why, why_size);
		}
	}
	*ret_options = options;
	return 0;
}

void options_help(FILE *out)
{
	for (size_t i = 0; i < TABLE_LEN; i++) {
		static const char *const kinds[] = {
			[OPTION_FLAG] = "",	[OPTION_STRING] = " TEXT",
			[OPTION_NUMBER] = " N", [OPTION_DURATION] = " TIME",
			[OPTION_RATIO] = " X",
		};

		fprintf(out, "  --%s%s\n      %s", table[i].name, kinds[table[i].type],
			table[i].help);
		if (table[i].value)
			fprintf(out, " [%s]", table[i].value);
		if (table[i].env)
			fprintf(out, " (%s)", table[i].env);
		fputc('\n', out);
	}
}
