// SPDX-License-Identifier: Apache-2.0
/* Names as the kubelet's two drivers and the runtimes write them; the sources are beside the rows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cgroup_path.h"

#define ID "1f9ab8dcb7ee5b7b1b0fa9d3f0a6c2d4e8f01234567890abcdef1234567890ab"

/* Folds a path component by component, as the tree does. */
static enum cgroup_kind kind_of(const char *path)
{
	enum cgroup_kind kind = CGROUP_OTHER;
	char copy[1024], *at = copy, *name;

	snprintf(copy, sizeof(copy), "%s", path);
	while ((name = strsep(&at, "/")) != NULL)
		kind = cgroup_path_kind(kind, name);
	return kind;
}

static void test_kinds(void **state)
{
	static const struct {
		const char *path;
		enum cgroup_kind kind;
	} cases[] = {
		/* cgroupfs driver, Kubernetes 1.20 and 1.36 */
		{ "kubepods", CGROUP_KUBEPODS },
		{ "kubepods/besteffort", CGROUP_QOS },
		{ "kubepods/burstable", CGROUP_QOS },
		{ "kubepods/burstable/pod4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b", CGROUP_POD },
		{ "kubepods/podad4d9f3b-0d5c-4a3f-9f53-6c3d1e2f4a5b", CGROUP_POD },
		/* static pod: a config hash */
		{ "kubepods/burstable/pod0123456789abcdef0123456789abcdef", CGROUP_POD },
		{ "kubepods/burstable/pod4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b/" ID,
		  CGROUP_CONTAINER },
		/* systemd driver */
		{ "kubepods.slice", CGROUP_KUBEPODS },
		{ "kubepods.slice/kubepods-burstable.slice", CGROUP_QOS },
		{ "kubepods.slice/kubepods-burstable.slice/"
		  "kubepods-burstable-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice",
		  CGROUP_POD },
		{ "kubepods.slice/kubepods-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice",
		  CGROUP_POD },
		{ "kubepods.slice/kubepods-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice/"
		  "cri-containerd-" ID ".scope",
		  CGROUP_CONTAINER },
		{ "kubepods.slice/kubepods-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice/"
		  "crio-conmon-" ID ".scope",
		  CGROUP_CONTAINER },
		/* kind: --cgroup-root=/kubelet */
		{ "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice",
		  CGROUP_QOS },
		{ "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort.slice/"
		  "kubelet-kubepods-besteffort-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice",
		  CGROUP_POD },
		/* anything a build makes below its own container is that container's */
		{ "kubepods/burstable/podab/" ID "/kubepods", CGROUP_NESTED },
		{ "kubepods/burstable/podab/" ID "/kubepods/podevil/" ID, CGROUP_NESTED },
		/* and what runs in a container of no pod is no pod */
		{ "docker/" ID, CGROUP_LONE_CONTAINER },
		{ "docker/" ID "/kubepods/burstable/podab", CGROUP_NESTED },
		{ "system.slice/docker-" ID ".scope", CGROUP_LONE_CONTAINER },
		{ "machine.slice/libpod-" ID ".scope", CGROUP_LONE_CONTAINER },
		{ "system.slice/ssh.service", CGROUP_OTHER },
		{ "system.slice/podman.service", CGROUP_OTHER },
		{ "podab", CGROUP_OTHER },
		{ "kubepods/burstable/pod", CGROUP_OTHER },
		{ "kubepods/burstable/pod\n", CGROUP_OTHER },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		if (kind_of(cases[i].path) != cases[i].kind)
			fail_msg("%s is %s, expected %s", cases[i].path,
				 cgroup_kind_name(kind_of(cases[i].path)),
				 cgroup_kind_name(cases[i].kind));
	}
}

static void test_pod_uid(void **state)
{
	static const struct {
		const char *name, *uid; /* NULL: no pod */
	} cases[] = {
		{ "pod4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b",
		  "4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b" },
		{ "kubepods-burstable-pod4d9f3b6a_0d5c_4a3f_9f53_6c3d1e2f4a5b.slice",
		  "4d9f3b6a-0d5c-4a3f-9f53-6c3d1e2f4a5b" },
		{ "kubepods-pod0123456789abcdef0123456789abcdef.slice",
		  "0123456789abcdef0123456789abcdef" },
		{ "pod", NULL },
		{ "pod../../etc", NULL },
		{ "kubepods-burstable.slice", NULL },
		{ "user-podx.slice", NULL },
		{ "podaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
		  NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char uid[64] = "untouched";
		int err = cgroup_path_pod_uid(cases[i].name, uid, sizeof(uid));

		assert_int_equal(err, cases[i].uid ? 0 : -EINVAL);
		assert_string_equal(uid, cases[i].uid ? cases[i].uid : "untouched");
	}
}

static void test_container_id(void **state)
{
	static const struct {
		const char *name;
		int err;
	} cases[] = {
		{ ID, 0 },
		{ "cri-containerd-" ID ".scope", 0 },
		{ "crio-" ID ".scope", 0 },
		{ "crio-" ID, 0 },
		{ "docker-" ID ".scope", 0 },
		{ "libpod-" ID ".scope", 0 },
		{ "crio-conmon-" ID ".scope", -EINVAL },
		{ ID "0", -EINVAL },
		{ ID ".slice", -EINVAL },
		{ "abc", -EINVAL },
		{ "", -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char id[65] = "";

		assert_int_equal(cgroup_path_container_id(cases[i].name, id, sizeof(id)),
				 cases[i].err);
		if (cases[i].err == 0)
			assert_string_equal(id, ID);
	}
	char small[64];

	assert_int_equal(cgroup_path_container_id(ID, small, sizeof(small)), -EINVAL);
}

static void test_qos(void **state)
{
	(void)state;
	assert_string_equal(cgroup_path_qos("besteffort"), "besteffort");
	assert_string_equal(cgroup_path_qos("kubepods-burstable.slice"), "burstable");
	assert_string_equal(cgroup_path_qos("kubepods.slice"), "guaranteed");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_pod_uid),
		cmocka_unit_test(test_container_id),
		cmocka_unit_test(test_qos),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
