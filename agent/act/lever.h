/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every lever is: it is told each tick what is wanted, brings the world there, and can take
 * everything back.
 * Refuses: to decide. Whether builds are slowed, and how far, is core/policy's.
 */
#ifndef PIDWARDEN_ACT_LEVER_H
#define PIDWARDEN_ACT_LEVER_H

#include <stdbool.h>
#include <stdint.h>

enum lever_result {
	LEVER_APPLIED, /* put in force */
	LEVER_ADJUSTED, /* in force with another value */
	LEVER_REFRESHED, /* its time to live renewed */
	LEVER_WITHDRAWN, /* taken back */
	LEVER_EXPIRED, /* its time ran out before it could be renewed or taken back */
	LEVER_FAILED, /* an attempt came to nothing */
	LEVER_DRY_RUN, /* observe mode: what would have been done was said */
	LEVER_RESULTS,
};

struct lever_wish {
	bool throttle; /* false: nothing of this lever's may be in force */
	uint64_t max_concurrent; /* builds */
	const char *reason; /* a sentence with the measured value and the threshold */
};

struct lever_status {
	const char *name;
	char state[128]; /* "idle", "at most 9 builds", "would ask for at most 9 builds" */
	char target[256]; /* what it acts on, no credentials */
	char last_error[256]; /* "" when the last attempt went well */
	int64_t left_ms; /* until what is in force expires by itself; -1: nothing is */
	uint64_t results[LEVER_RESULTS];
};

struct lever;

struct lever_ops {
	/* Each tick, also when nothing changed: renewals happen here. */
	void (*want)(struct lever *lever, const struct lever_wish *wish, int64_t now_ms);
	/* Between ticks, when an answer or the journal's word has come. */
	void (*poll)(struct lever *lever, int64_t now_ms);
	/* Whether nothing is in force and nothing under way: the agent may end. */
	bool (*settled)(const struct lever *lever);
	void (*status)(const struct lever *lever, int64_t now_ms, struct lever_status *ret_status);
	void (*free)(struct lever *lever);
};

/* The first member of every lever. */
struct lever {
	const struct lever_ops *ops;
	const char *name;
};

/*
 * Where a lever writes down what it is about to do, before it does it, so that its successor can
 * undo it after a crash. The agent's writer thread is behind it: nothing here waits.
 */
struct lever_journal {
	/* Replaces the lever's record; @data NULL removes it. A ticket, or -errno. */
	int64_t (*put)(const char *path, const char *data, uint64_t len, void *data_ptr);
	/* The highest ticket that is on disk or has failed. */
	int64_t (*done)(void *data_ptr);
	void *data;
};

const char *lever_result_name(enum lever_result result);

#endif
