/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a build is recognised: one table of rules from labels, annotations, owner, images and names
 * to the builder's name.
 * Refuses: to judge by one weak sign. Labels are set by users; a lever looks at the owner as well
 * before it acts.
 */
#ifndef PIDWARDEN_CORE_BUILDERS_H
#define PIDWARDEN_CORE_BUILDERS_H

#include <stdbool.h>
#include <stddef.h>

enum builder_sign {
	BUILDER_SIGN_NONE, /* ends a rule's signs */
	BUILDER_LABEL, /* key, and value unless NULL */
	BUILDER_ANNOTATION, /* as label */
	BUILDER_META, /* either of the two */
	BUILDER_OWNER_KIND, /* value: the controlling owner's kind */
	BUILDER_IMAGE, /* value: part of a container's image */
	BUILDER_NAME_PREFIX, /* value: the pod's name begins with it */
	BUILDER_OWNER_SUFFIX, /* value: the owner's name ends with it */
	/* The owner is not a Job that a CronJob made: those end in "-" and 8 or 10 digits. */
	BUILDER_NOT_CRON,
};

#define BUILDER_SIGNS 3

struct builder_rule {
	const char *builder;
	struct {
		enum builder_sign sign;
		const char *key;
		const char *value;
	} signs[BUILDER_SIGNS]; /* all of them must hold */
};

struct builder_table {
	const struct builder_rule *rules; /* the first that holds names the builder */
	size_t n_rules;
};

struct builder_pair {
	const char *key;
	const char *value;
};

/* A pod as the rules see it. Strings are never NULL: "" for what is absent. */
struct builder_subject {
	const char *name;
	const char *owner_kind;
	const char *owner_name;
	const struct builder_pair *labels;
	size_t n_labels;
	const struct builder_pair *annotations;
	size_t n_annotations;
	const char *const *images;
	size_t n_images;
};

/*
 * The ecosystems pidwarden knows. Of plain Kubernetes Jobs ("job") these are builds: label
 * type=build-job, annotations build.type or build.tool, and Jobs by name, "build-..." or
 * "...-build", unless a CronJob made them. Every other Job is not.
 */
const struct builder_table *builders_default(void);

/* Does any rule look at this label or annotation? The rest need not be kept. */
bool builders_wants_label(const struct builder_table *table, const char *key);
bool builders_wants_annotation(const struct builder_table *table, const char *key);

/* The builder's name (static text of the table), NULL when the pod is no build. */
const char *builders_match(const struct builder_table *table,
			   const struct builder_subject *subject);

#endif
