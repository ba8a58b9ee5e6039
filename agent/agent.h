/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent: what is made at start, and one tick from readers to levers and surfaces.
 * Refuses: to end because of bad input. What cannot be had is said, and the rest runs on.
 */
#ifndef PIDWARDEN_AGENT_H
#define PIDWARDEN_AGENT_H

struct agent;
struct loop;
struct options;
struct writer;

/* Logs what failed. 0, or -errno when it cannot serve at all (no cgroups, no socket, no memory). */
int agent_new(struct loop *loop, const struct options *options, struct writer *writer,
	      struct agent **ret_agent);
void agent_free(struct agent *agent);
/* Takes back everything that is in force, then stops the loop. */
void agent_stop(struct agent *agent);

#endif
