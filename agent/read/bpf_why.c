// SPDX-License-Identifier: Apache-2.0
#include "read/bpf_why.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/clean.h"

#define BTF_PATH "/sys/kernel/btf/vmlinux"
#define WITHOUT                                                                          \
	"Without BPF live tasks and limits are still exact (cgroup files); missing are " \
	"the totals of processes, threads, execs and exits, the exact number of PIDs "   \
	"in use, and the trip wire."

/* <linux/capability.h> of older distributions has no names for these. */
enum {
	CAP_NR_SYS_ADMIN = 21,
	CAP_NR_SYS_RESOURCE = 24,
	CAP_NR_PERFMON = 38,
	CAP_NR_BPF = 39,
};

/* libbpf's print callback has no user pointer, so what it says has to be kept in a static. */
static char last_words[512];
static libbpf_print_fn_t previous_print;

/*
 * Keeps the end of the text: the last warnings say what went wrong, the first that something did.
 */
static void keep(const char *line)
{
	size_t len = strlen(line);
	size_t have = strlen(last_words);
	size_t room = sizeof(last_words) - 1;

	if (len > room) {
		line += len - room;
		len = room;
	}
	if (have + len > room) {
		size_t drop = have + len - room;

		memmove(last_words, last_words + drop, have - drop + 1);
		have -= drop;
	}
	memcpy(last_words + have, line, len + 1);
}

static int __attribute__((format(printf, 2, 0)))
print_warning(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];
	char *c;

	if (level != LIBBPF_WARN)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	/* The verifier's log is one message of many lines; one line each goes into a log entry. */
	for (c = line; *c != '\0'; c++) {
		if (*c == '\n')
			*c = c[1] == '\0' ? ' ' : ';';
	}
	keep(line);
	return 0;
}

void bpf_why_begin(void)
{
	last_words[0] = '\0';
	previous_print = libbpf_set_print(print_warning);
}

void bpf_why_end(void)
{
	libbpf_set_print(previous_print);
}

static bool has_capability(unsigned int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = { 0 };

	/*
	 * Asked without libcap: one system call is not worth a library. If it fails, do not
	 * accuse.
	 */
	if (syscall(SYS_capget, &header, data) < 0)
		return true;
	return data[capability / 32].effective & (1U << (capability % 32));
}

/* Outside the first user namespace capabilities do not count for bpf(2). */
static bool in_user_namespace(void)
{
	unsigned long inside, outside, count;
	clean_file FILE *file = fopen("/proc/self/uid_map", "re");

	if (!file)
		return false;
	/* A namespace that was given no mapping yet has an empty map. */
	if (fscanf(file, "%lu %lu %lu", &inside, &outside, &count) != 3)
		return true;
	return inside != 0 || outside != 0 || count != 4294967295UL;
}

static bool in_lockdown(void)
{
	char line[128] = "";
	clean_file FILE *file = fopen("/sys/kernel/security/lockdown", "re");

	return file && fgets(line, sizeof(line), file) && strstr(line, "[confidentiality]");
}

static bool has_seccomp_filter(void)
{
	char line[256];
	clean_file FILE *file = fopen("/proc/self/status", "re");

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "Seccomp:", 8) == 0)
			return strchr(line, '2') != NULL;
	}
	return false;
}

static bool memlock_is_low(void)
{
	struct rlimit limit;

	return getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	       !has_capability(CAP_NR_SYS_RESOURCE);
}

static void missing_capabilities(char *text, size_t size)
{
	bool bpf = has_capability(CAP_NR_BPF), perfmon = has_capability(CAP_NR_PERFMON);

	text[0] = '\0';
	if (has_capability(CAP_NR_SYS_ADMIN) || (bpf && perfmon))
		return;
	snprintf(text, size,
		 "missing capability %s%s%s (or CAP_SYS_ADMIN, which kernels before 5.8 want)",
		 bpf ? "" : "CAP_BPF", bpf || perfmon ? "" : " and ", perfmon ? "" : "CAP_PERFMON");
}

int bpf_why_cause(struct bpf_probe_error *ret_why, int err, const char *cause)
{
	*ret_why = (struct bpf_probe_error){ .err = err };
	snprintf(ret_why->text, sizeof(ret_why->text), "%s. " WITHOUT, cause);
	snprintf(ret_why->detail, sizeof(ret_why->detail), "%s", last_words);
	return err;
}

int bpf_why(struct bpf_probe_error *ret_why, const char *step, int err)
{
	bool refused = err == -EPERM || err == -EACCES;
	char cause[256];
	struct utsname uts;

	missing_capabilities(cause, sizeof(cause));
	if (cause[0] != '\0')
		return bpf_why_cause(ret_why, err, cause);
	if (access(BTF_PATH, R_OK) < 0)
		return bpf_why_cause(ret_why, err,
				     "the kernel has no BTF at " BTF_PATH
				     " (CONFIG_DEBUG_INFO_BTF, or /sys not mounted)");
	if (refused && in_user_namespace())
		return bpf_why_cause(ret_why, err,
				     "running in a user namespace, where bpf(2) is never allowed "
				     "(in Kubernetes: hostUsers: true)");
	if (refused && in_lockdown())
		return bpf_why_cause(
			ret_why, err,
			"kernel lockdown is in mode confidentiality, which forbids BPF tracing");
	if (refused && memlock_is_low())
		return bpf_why_cause(
			ret_why, err,
			"RLIMIT_MEMLOCK is too low and CAP_SYS_RESOURCE, which may raise it, "
			"is missing (kernels before 5.11 charge BPF maps to it)");
	if (refused && has_seccomp_filter())
		return bpf_why_cause(ret_why, err,
				     "bpf(2) was refused, probably by the seccomp filter in force");
	if (err == -ENOMEM)
		return bpf_why_cause(
			ret_why, err,
			"no memory for the BPF maps (raise the container's memory limit)");
	if (uname(&uts) < 0)
		snprintf(uts.release, sizeof(uts.release), "?");
	snprintf(cause, sizeof(cause),
		 "%s failed on kernel %.64s: %s (needed: tp_btf programs, "
		 "BPF ring buffer and mappable arrays, in 5.10 and later)",
		 step, uts.release, strerror(-err));
	return bpf_why_cause(ret_why, err, cause);
}
