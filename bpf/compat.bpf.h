/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Reads of kernel structures that depend on the kernel's version, configuration or hierarchy.
 * Refuses: maps, and decisions about what to count.
 *
 * Typed loads (plain dereferences of pointers that the verifier knows) wherever the program type
 * has them: they cost one instruction, a BPF_CORE_READ a helper call.
 */
#ifndef PIDWARDEN_COMPAT_BPF_H
#define PIDWARDEN_COMPAT_BPF_H

#include "pidwarden_vmlinux.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

/*
 * Bit 31 of pid_allocated: "this namespace may still get tasks" (PIDNS_ADDING, kernel/pid.c; so
 * since e8cfbc245e24 "pid: remove pidhash", 4.15).
 */
#define PIDNS_ADDING (1U << 31)

/* The enumerator is absent when CONFIG_CGROUP_PIDS is, and moves with every other controller. */
static __always_inline bool has_pids_controller(void)
{
	return bpf_core_enum_value_exists(enum cgroup_subsys_id, pids_cgrp_id);
}

/*
 * The pids css that @task is charged to, on every kind of hierarchy. On v1 and hybrid it belongs
 * to the task's directory in the pids hierarchy; on v2, where pids is not enabled all the way
 * down, subsys[] already holds the nearest ancestor's (find_existing_css_set() fills it by
 * cgroup_e_css()). So the hierarchy need not be known here.
 */
static __always_inline struct cgroup_subsys_state *task_pids_css(struct task_struct *task)
{
	if (!has_pids_controller())
		return NULL;
	return task->cgroups->subsys[bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id)];
}

/*
 * @cgrp's own pids css; NULL where the directory is in another hierarchy or has no pids
 * controller.
 */
static __always_inline struct cgroup_subsys_state *cgroup_pids_css(struct cgroup *cgrp)
{
	if (!has_pids_controller())
		return NULL;
	return cgrp->subsys[bpf_core_enum_value(enum cgroup_subsys_id, pids_cgrp_id)];
}

/* kernfs_node::id is the inode number of the directory, as a plain u64 since 67c0496e87d1 "kernfs:
 * convert kernfs_node->id from union kernfs_node_id to u64" (5.5, older than tp_btf). */
static __always_inline u64 css_cgroup_id(const struct cgroup_subsys_state *css)
{
	return css->cgroup->kn->id;
}

/*
 * Tasks charged to @css. The verifier knows @css as the embedded cgroup_subsys_state and lets no
 * typed load go beyond it, hence the helper call.
 */
static __always_inline u64 css_pids_counter(const struct cgroup_subsys_state *css)
{
	const struct pids_cgroup *pids = (const void *)css;
	s64 tasks;

	if (bpf_core_read(&tasks, sizeof(tasks), &pids->counter.counter) || tasks < 0)
		return 0;
	return (u64)tasks;
}

/*
 * PIDs in use in the root PID namespace. struct pid::numbers is a flexible array since
 * b69f0aeb0689 "pid: Replace struct pid 1-element array with flex-array" (6.5); element 0, the
 * root's, exists in both.
 */
static __always_inline u64 task_root_pid_allocated(struct task_struct *task)
{
	return task->thread_pid->numbers[0].ns->pid_allocated & ~PIDNS_ADDING;
}

#endif
