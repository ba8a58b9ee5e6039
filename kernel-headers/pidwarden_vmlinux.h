/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The kernel types the BPF programs read, and nothing else of them: CO-RE moves every field
 * access to where the running kernel keeps the field (README.md in this folder).
 * Refuses: inclusion by user space, and fields no program reads.
 */
#ifndef PIDWARDEN_VMLINUX_H
#define PIDWARDEN_VMLINUX_H

#ifndef __bpf__
#error "kernel types are for BPF programs only"
#endif

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u32 __wsum;
typedef _Bool bool;

enum {
	false = 0,
	true = 1,
};

/* From the user-space API (linux/bpf.h, linux/sched.h, asm-generic): these numbers never change. */
enum bpf_map_type {
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_RINGBUF = 27,
};

enum {
	BPF_F_MMAPABLE = 1 << 10,
	BPF_RB_FORCE_WAKEUP = 1 << 1,
};

#define CLONE_THREAD 0x00010000ULL

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

/* Only its name is used: the value differs with the kernel's configuration. */
enum cgroup_subsys_id {
	pids_cgrp_id = 11,
	CGROUP_SUBSYS_COUNT = 14,
};

typedef struct {
	s64 counter;
} atomic64_t;

struct kernfs_node {
	u64 id;
};

struct cgroup;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
	int id;
};

struct cgroup {
	struct kernfs_node *kn;
	struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

struct css_set {
	struct cgroup_subsys_state *subsys[CGROUP_SUBSYS_COUNT];
};

struct pids_cgroup {
	struct cgroup_subsys_state css;
	atomic64_t counter;
};

struct pid_namespace {
	unsigned int pid_allocated;
	int pid_max;
};

struct upid {
	int nr;
	struct pid_namespace *ns;
};

struct pid {
	unsigned int level;
	struct upid numbers[1];
};

struct task_struct {
	struct pid *thread_pid;
	struct css_set *cgroups;
};

#pragma clang attribute pop

#endif
