// SPDX-License-Identifier: Apache-2.0
/* Without the right to load BPF: an error that names what is missing and what works without it. */
#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "bpf_test.h"

enum {
	NR_SYS_ADMIN = 21,
	NR_SYS_RESOURCE = 24,
	NR_PERFMON = 38,
	NR_BPF = 39,
};

static void drop(unsigned int capability)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	if (syscall(SYS_capget, &header, data) < 0)
		_exit(125);
	data[capability / 32].effective &= ~(1U << (capability % 32));
	data[capability / 32].permitted &= ~(1U << (capability % 32));
	if (syscall(SYS_capset, &header, data) < 0)
		_exit(125);
}

static void as_nobody(void)
{
	if (setresuid(65534, 65534, 65534) < 0)
		_exit(125);
}

static void without_bpf(void)
{
	drop(NR_SYS_ADMIN);
	drop(NR_BPF);
}

static void without_perfmon(void)
{
	drop(NR_SYS_ADMIN);
	drop(NR_PERFMON);
}

static void with_bpf_and_perfmon(void)
{
	drop(NR_SYS_ADMIN);
	drop(NR_SYS_RESOURCE);
}

static void in_user_namespace(void)
{
	if (unshare(CLONE_NEWUSER) < 0)
		_exit(124);
}

static const struct row {
	const char *what;
	void (*prepare)(void);
	const char *want; /* NULL: it must work */
	const char *must_not; /* NULL: anything */
} rows[] = {
	{ "as nobody", as_nobody, "CAP_BPF and CAP_PERFMON", NULL },
	{ "without CAP_BPF", without_bpf, "missing capability CAP_BPF (", "PERFMON" },
	{ "without CAP_PERFMON", without_perfmon, "missing capability CAP_PERFMON (", "CAP_BPF" },
	{ "in a user namespace", in_user_namespace, "user namespace", NULL },
	{ "with CAP_BPF and CAP_PERFMON alone", with_bpf_and_perfmon, NULL, NULL },
};

static void test_reasons(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct bpf_probe_error why = { 0 };
		int pipes[2], status;
		pid_t tgid;

		assert_int_equal(pipe(pipes), 0);
		tgid = fork();
		assert_true(tgid >= 0);
		if (tgid == 0) {
			struct bpf_probe *probe = NULL;
			int err;

			row->prepare();
			err = bpf_probe_new(NULL, &probe, &why);
			if (err != why.err)
				_exit(2);
			if (write(pipes[1], &why, sizeof(why)) != sizeof(why))
				_exit(3);
			bpf_probe_free(probe);
			_exit(err ? 1 : 0);
		}
		close(pipes[1]);
		assert_int_equal(read(pipes[0], &why, sizeof(why)),
				 waitpid(tgid, &status, 0) == tgid && WIFEXITED(status) &&
						 WEXITSTATUS(status) < 2 ?
					 (ssize_t)sizeof(why) :
					 0);
		close(pipes[0]);
		assert_true(WIFEXITED(status));
		if (WEXITSTATUS(status) == 124) {
			print_message("%s: not tried, the kernel allows none\n", row->what);
			continue;
		}
		print_message("%s: %s\n", row->what, why.text[0] ? why.text : "works");
		if (!row->want) {
			assert_int_equal(WEXITSTATUS(status), 0);
			continue;
		}
		assert_int_equal(WEXITSTATUS(status), 1);
		assert_true(why.err < 0);
		assert_non_null(strstr(why.text, row->want));
		assert_non_null(
			strstr(why.text, "Without BPF live tasks and limits are still exact"));
		/* Not cut off. */
		assert_int_equal(why.text[strlen(why.text) - 1], '.');
		if (row->must_not)
			assert_null(strstr(why.text, row->must_not));
	}
}

static void test_bad_options(void **state)
{
	static const uint32_t bad[] = { 1, 63, 100, 16383, PW_SLOTS_MAX * 2 };
	struct bpf_probe_error why;
	struct bpf_probe *probe;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bpf_probe_options options = { .slots = bad[i] };

		assert_int_equal(bpf_probe_new(&options, &probe, &why), -EINVAL);
		assert_int_equal(why.err, -EINVAL);
		assert_non_null(strstr(why.text, "slots"));
	}
	bpf_probe_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reasons),
		cmocka_unit_test(test_bad_options),
	};
	int skip = test_need_bpf();

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
