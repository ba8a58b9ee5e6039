// SPDX-License-Identifier: Apache-2.0
/*
 * The shared structs as the BPF compiler laid them out (the object's BTF) against how the C
 * compiler of user space does. Needs no right and no kernel feature.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>

#include "bpf_test.h"

#include "pidwarden.skel.h"

#define FIELD(s, f)                                                                            \
	{                                                                                      \
#s, #f, offsetof(struct s, f), sizeof(((struct s *)NULL)->f), sizeof(struct s) \
	}

static const struct field {
	const char *type, *name;
	size_t offset, size, type_size;
} fields[] = {
	FIELD(pw_counters, processes),
	FIELD(pw_counters, threads),
	FIELD(pw_counters, execs),
	FIELD(pw_counters, exits),
	FIELD(pw_owner, cgroup_id),
	FIELD(pw_owner, parent_id),
	FIELD(pw_owner, state),
	FIELD(pw_owner, pad),
	FIELD(pw_fold, kind),
	FIELD(pw_fold, css_id),
	FIELD(pw_fold, cgroup_id),
	FIELD(pw_fold, parent_id),
	FIELD(pw_fold, counters),
	FIELD(pw_wire, armed_seq),
	FIELD(pw_wire, fired_seq),
	FIELD(pw_wire, threshold),
	FIELD(pw_wire, cgroup_id),
	FIELD(pw_settings, wires),
	FIELD(pw_settings, pad),
	FIELD(pw_settings, wire),
	FIELD(pw_trip, limit),
	FIELD(pw_trip, tgid),
	FIELD(pw_trip, seq),
	FIELD(pw_trip, value),
	FIELD(pw_trip, threshold),
	FIELD(pw_trip, cgroup_id),
	FIELD(pw_trip, ktime_ns),
	FIELD(pw_trip, comm),
	FIELD(pw_errors, overflow_events),
	FIELD(pw_errors, slot_conflicts),
	FIELD(pw_errors, lost_folds),
	FIELD(pw_errors, lost_trips),
	FIELD(pw_errors, failed_lookups),
	FIELD(pw_node_pids, allocated),
	FIELD(pw_node_pids, pid_max),
	FIELD(pw_node_pids, has_pids_controller),
	FIELD(pw_node_pids, pad),
};

#define N_FIELDS (sizeof(fields) / sizeof(fields[0]))

static void test_layout(void **state)
{
	struct bpf_object *object;
	const struct btf *btf;
	size_t size, i;
	const void *elf = pidwarden_bpf__elf_bytes(&size);

	(void)state;
	object = bpf_object__open_mem(elf, size, NULL);
	assert_non_null(object);
	btf = bpf_object__btf(object);
	assert_non_null(btf);
	for (i = 0; i < N_FIELDS; i++) {
		const struct btf_type *type;
		const struct btf_member *member;
		bool found = false;
		size_t listed = 0, j;
		__u16 m;
		int id = btf__find_by_name_kind(btf, fields[i].type, BTF_KIND_STRUCT);

		if (id < 0)
			fail_msg("no struct %s in the object", fields[i].type);
		type = btf__type_by_id(btf, (__u32)id);
		assert_int_equal(type->size, fields[i].type_size);
		for (m = 0, member = btf_members(type); m < btf_vlen(type); m++, member++) {
			if (strcmp(btf__name_by_offset(btf, member->name_off), fields[i].name) != 0)
				continue;
			found = true;
			if (btf_member_bit_offset(type, m) != fields[i].offset * 8 ||
			    btf__resolve_size(btf, member->type) != (__s64)fields[i].size)
				fail_msg("%s.%s: bit offset %u, size %lld; C: byte %zu, size %zu",
					 fields[i].type, fields[i].name,
					 btf_member_bit_offset(type, m),
					 (long long)btf__resolve_size(btf, member->type),
					 fields[i].offset, fields[i].size);
		}
		if (!found)
			fail_msg("no %s.%s in the object", fields[i].type, fields[i].name);
		/* A member added to the struct and not to the table above would go unchecked. */
		for (j = 0; j < N_FIELDS; j++)
			listed += strcmp(fields[j].type, fields[i].type) == 0;
		assert_int_equal(btf_vlen(type), listed);
	}
	bpf_object__close(object);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_layout) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
