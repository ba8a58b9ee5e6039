/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The node-wide figures of /proc: pid_max, threads-max, the number of tasks.
 * Refuses: what BPF reads better (pid_allocated; the root namespace's pid_max).
 */
#ifndef PIDWARDEN_READ_NODE_FACTS_H
#define PIDWARDEN_READ_NODE_FACTS_H

#include <stdint.h>

struct node_facts {
	/* sys/kernel/pid_max: since Linux 6.14 that of the reader's PID namespace, before that the
	 * node's (7863dcc72d0f "pid: allow pid_max to be set per pid namespace"). */
	uint64_t pid_max;
	uint64_t threads_max; /* sys/kernel/threads-max */
	uint64_t tasks; /* second half of loadavg's fourth field: nr_threads of the whole machine */
};

/* 0, or -errno of the first file that could not be read or parsed. */
int node_facts_read(const char *proc_root, struct node_facts *ret_facts);

#endif
