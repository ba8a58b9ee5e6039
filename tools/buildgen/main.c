// SPDX-License-Identifier: Apache-2.0
/*
 * buildgen: the incident's job generator, made throttleable. This file takes the first argument
 * apart; each command has a file of its own.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "canary.h"
#include "local.h"
#include "options.h"
#include "run_build.h"

static void help(void)
{
	printf("usage: buildgen --local [options]         builds on this machine, in cgroups\n"
	       "       buildgen run-build [options]       one build, wherever it is started\n"
	       "       buildgen canary --cgroup DIR ...   forks like a CNI plugin, counts failures\n"
	       "\noptions of --local [default] (environment variable):\n");
	options_help(stdout);
	printf("\nHTTP: GET /pods (as a kubelet), GET /status, POST /throttle, POST /start, GET "
	       "/healthz\n");
}

static bool take_log_level(const char *name)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(name, names[i]) == 0) {
			log_configure((enum log_level)i, LOG_FORMAT_TEXT);
			return true;
		}
	}
	return false;
}

int main(int argc, char **argv)
{
	struct options options;
	char why[256];

	if (argc > 1 && strcmp(argv[1], "run-build") == 0)
		return run_build_main(argc - 2, argv + 2);
	if (argc > 1 && strcmp(argv[1], "canary") == 0)
		return canary_main(argc - 2, argv + 2);
	if (options_parse(argc - 1, argv + 1, &options, why, sizeof(why)) < 0) {
		fprintf(stderr, "buildgen: %s\n", why);
		return 2;
	}
	if (options.help) {
		help();
		return 0;
	}
	if (options.version) {
		printf("buildgen %s\n", PIDWARDEN_VERSION);
		return 0;
	}
	if (!take_log_level(options.log_level)) {
		fprintf(stderr, "buildgen: --log-level: error, warn, info or debug\n");
		return 2;
	}
	if (!options.local) {
		fprintf(stderr, "buildgen: nothing to do without --local (see --help)\n");
		return 2;
	}
	if (options.builds == 0 && options.duration_ms == 0 && !options.paused)
		log_info("neither --duration nor --builds: running until stopped");
	return local_main(&options);
}
