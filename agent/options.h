/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's settings, from flags, environment, file and defaults, checked before anything runs.
 * Refuses: to guess. A setting that is unknown, malformed, out of range or contradicts another
 * is a message that names it and where it stood, never a default used silently instead.
 */
#ifndef PIDWARDEN_OPTIONS_H
#define PIDWARDEN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/log.h"

enum options_mode {
	OPTIONS_MODE_OBSERVE,
	OPTIONS_MODE_THROTTLE
};

/* Text fields are never NULL; "" stands for "not given" where the table allows it. */
struct options {
	char *config_file;
	char *listen;
	enum options_mode mode;
	char *kubelet_url; /* no slash at its end: "/pods" is appended */
	char *kubelet_token_file;
	char *kubelet_ca_file;
	bool kubelet_insecure_skip_verify;
	int64_t kubelet_interval_ms;
	char *cgroup_root; /* "": found by looking at the mounts */
	char *proc_root;
	char *node_cgroup; /* "": the node is the whole machine */
	char *node_name;
	int64_t interval_ms;
	double headroom_enter_ratio;
	double headroom_leave_ratio;
	double reserve_ratio;
	int64_t min_dwell_ms;
	uint64_t pids_per_build;
	char *webhook_url;
	int64_t webhook_ttl_ms;
	char *state_dir;
	bool no_bpf;
	enum log_level log_level;
	enum log_format log_format;
};

enum options_result {
	OPTIONS_RUN = 0, /* ret_options is filled */
	OPTIONS_PRINT = 1, /* --help, --version, --check-config: print ret_message, exit 0 */
};

/*
 * Reads flags (strongest), @envp, the file named by --config, and the defaults.
 * OPTIONS_RUN or OPTIONS_PRINT; or a negative errno with @ret_message saying in one line, without
 * a newline, what is wrong and where: print it and exit 2. -EINVAL: a setting is wrong (also an
 * unreadable file that a setting names); -ENOMEM.
 * @ret_message is initialised by the caller and holds whole lines only with OPTIONS_PRINT.
 */
int options_parse(int argc, char *const argv[], char *const envp[], struct options *ret_options,
		  struct buf *ret_message);
void options_done(struct options *options);

#define clean_options __attribute__((cleanup(options_done)))

#endif
