/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One build pod: its cgroups in the kubelet's shape, the pause process of its sandbox, the build
 * in its container. What kubelet, runtime and shim do, by the caller's own forks.
 * Refuses: to decide when to start, whether to try again, and what counts.
 */
#ifndef BUILDGEN_POD_H
#define BUILDGEN_POD_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "names.h"
#include "node.h"
#include "page.h"

enum pod_state {
	POD_RUNNING, /* the build's leader lives */
	POD_ENDING, /* it does not, but processes or directories are left */
	POD_ENDED,
};

enum pod_cause {
	POD_SUCCEEDED,
	POD_FORK_FAILURE, /* a fork or thread failed inside the build */
	POD_START_FAILURE, /* the pod could not be started: a fork of the generator's own failed */
	POD_KILLED, /* somebody killed the build or a part of it */
	POD_TIMEOUT,
	POD_OTHER,
	POD_INTERRUPTED, /* by the generator's own end: no failure */
	POD_CAUSES,
};

struct pod_spec {
	char job_name[NAMES_JOB_SIZE];
	char job_uid[NAMES_UUID_SIZE];
	char namespace[64];
	uint64_t index; /* of the job */
	uint64_t attempt; /* from 1 */
	uint64_t seed;
	double time_scale;
	uint64_t threads; /* of each process */
};

struct pod {
	struct pod_spec spec;
	char name[NAMES_JOB_SIZE + 8];
	char uid[NAMES_UUID_SIZE];
	char container_id[NAMES_CONTAINER_ID_SIZE];
	char sandbox_id[NAMES_CONTAINER_ID_SIZE];
	char dir[PATH_MAX];
	enum pod_state state;
	enum pod_cause cause; /* from POD_ENDING on */
	pid_t leader; /* tgid, 0: not started or reaped */
	pid_t pause;
	int exit_status; /* of the leader, as a container's exit code */
	int64_t start_wall_ms, end_wall_ms;
	int64_t start_ms, end_ms; /* monotonic */
	bool killed_for_timeout;
	bool counted; /* the caller's mark: its end has been taken into account */
	struct build_page *page; /* never NULL in a started pod; kept until pod_free() */
};

/*
 * Starts a pod on @node. On failure *ret_pod is a pod in POD_ENDING with cause POD_START_FAILURE
 * that holds what was made so far, and the errno that stopped it is returned; only without memory
 * for even that is *ret_pod left alone.
 */
int pod_start(const struct node *node, const struct pod_spec *spec, struct pod **ret_pod);
void pod_free(struct pod *pod);
/* A child of the generator was reaped. True when it was this pod's; state and cause follow. */
bool pod_reaped(struct pod *pod, pid_t tgid, int wait_status);
/* The build overran its time, or the generator stops: asks the leader to end. */
void pod_stop(const struct pod *pod);
/* In POD_ENDING: kills what is left and removes the cgroups; POD_ENDED when all is gone. */
void pod_clean(struct pod *pod);
const char *pod_cause_name(enum pod_cause cause);

#endif
