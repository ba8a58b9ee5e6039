// SPDX-License-Identifier: Apache-2.0
#include "core/builders.h"

#include <string.h>

/* Before Kubernetes 1.21 the scheduled time in seconds, since then in minutes. */
#define CRON_DIGITS_SECONDS 10
#define CRON_DIGITS_MINUTES 8

#define LABEL(key)                       \
	{                                \
		BUILDER_LABEL, key, NULL \
	}
#define LABEL_IS(key, value)              \
	{                                 \
		BUILDER_LABEL, key, value \
	}
#define ANNOTATION(key)                       \
	{                                     \
		BUILDER_ANNOTATION, key, NULL \
	}
#define META(key)                       \
	{                               \
		BUILDER_META, key, NULL \
	}
#define OWNER(kind)                            \
	{                                      \
		BUILDER_OWNER_KIND, NULL, kind \
	}
#define OWNER_SUFFIX(suffix)                       \
	{                                          \
		BUILDER_OWNER_SUFFIX, NULL, suffix \
	}
#define IMAGE(part)                       \
	{                                 \
		BUILDER_IMAGE, NULL, part \
	}
#define NAME(prefix)                              \
	{                                         \
		BUILDER_NAME_PREFIX, NULL, prefix \
	}
#define NOT_CRON                             \
	{                                    \
		BUILDER_NOT_CRON, NULL, NULL \
	}

/*
 * Order matters: what drives a build comes before what it uses. Shipwright runs Tekton TaskRuns,
 * Prow and Buildkite make pods or Jobs of their own, and any of them may run the Kaniko image.
 */
static const struct builder_rule rules[] = {
	{ "buildkite", { LABEL("buildkite.com/job-uuid") } },
	{ "buildkite", { ANNOTATION("buildkite.com/pipeline-slug") } },
	{ "buildkite", { ANNOTATION("buildkite.com/build-url") } },
	{ "buildkite", { OWNER("BuildJob") } },
	/* The scale set's listener carries the set's labels too, runs for ever and builds nothing:
	 * only the ephemeral runner's own label or owner tells a runner. */
	{ "github-arc", { LABEL_IS("actions-ephemeral-runner", "True") } },
	{ "github-arc", { LABEL("actions.github.com/scale-set-name"), OWNER("EphemeralRunner") } },
	{ "github-arc", { LABEL("actions-runner") } },
	{ "github-arc", { LABEL("runner-deployment-name") } },
	/* The label of the same name is cut to 63 bytes. */
	{ "openshift", { ANNOTATION("openshift.io/build.name") } },
	{ "shipwright", { META("buildrun.shipwright.io/name") } },
	{ "shipwright", { META("build.shipwright.io/name") } },
	{ "prow", { LABEL_IS("created-by-prow", "true") } },
	{ "prow", { LABEL("prow.k8s.io/id") } },
	{ "prow", { LABEL("prow.k8s.io/job") } },
	/* A pipeline's affinity assistant (a StatefulSet) has the run's labels and only sleeps. */
	{ "tekton", { LABEL("tekton.dev/taskRun") } },
	{ "tekton", { LABEL("tekton.dev/pipelineRun"), OWNER("TaskRun") } },
	{ "tekton", { LABEL("tekton.dev/pipelineRun"), OWNER("PipelineRun") } },
	{ "tekton",
	  { LABEL_IS("app.kubernetes.io/managed-by", "tekton-pipelines"), OWNER("TaskRun") } },
	{ "tekton", { LABEL_IS("mlops.redhat.com/build-workspace", "true") } },
	{ "gitlab", { META("job.runner.gitlab.com/id") } },
	{ "gitlab", { META("project.runner.gitlab.com/id") } },
	{ "jenkins", { LABEL("jenkins/label") } },
	{ "jenkins", { LABEL_IS("jenkins", "slave") } },
	{ "jenkins", { META("kubernetes.jenkins.io/controller") } },
	{ "argo", { LABEL("workflows.argoproj.io/workflow") } },
	{ "kaniko", { LABEL_IS("app", "knative-lambda-builder") } },
	{ "kaniko", { META("build.notifi.network/third-party-id") } },
	{ "kaniko", { META("build.notifi.network/parser-id") } },
	{ "kaniko", { IMAGE("kaniko-project/executor") } },
	{ "job", { LABEL_IS("type", "build-job") } },
	{ "job", { ANNOTATION("build.type") } },
	{ "job", { ANNOTATION("build.tool") } },
	{ "job", { OWNER("Job"), NAME("build-"), NOT_CRON } },
	{ "job", { OWNER("Job"), OWNER_SUFFIX("-build"), NOT_CRON } },
};

static const struct builder_table table_default = {
	.rules = rules,
	.n_rules = sizeof(rules) / sizeof(rules[0]),
};

const struct builder_table *builders_default(void)
{
	return &table_default;
}

static bool wants(const struct builder_table *table, enum builder_sign sign, const char *key)
{
	for (size_t i = 0; i < table->n_rules; i++) {
		for (size_t j = 0; j < BUILDER_SIGNS; j++) {
			enum builder_sign is = table->rules[i].signs[j].sign;

			if ((is == sign || is == BUILDER_META) &&
			    strcmp(table->rules[i].signs[j].key, key) == 0)
				return true;
		}
	}
	return false;
}

bool builders_wants_label(const struct builder_table *table, const char *key)
{
	return wants(table, BUILDER_LABEL, key);
}

bool builders_wants_annotation(const struct builder_table *table, const char *key)
{
	return wants(table, BUILDER_ANNOTATION, key);
}

static bool has_pair(const struct builder_pair *pairs, size_t n, const char *key, const char *value)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(pairs[i].key, key) == 0)
			return !value || strcmp(pairs[i].value, value) == 0;
	}
	return false;
}

static bool ends_with(const char *str, const char *suffix)
{
	size_t len = strlen(str), n = strlen(suffix);

	return len >= n && strcmp(str + len - n, suffix) == 0;
}

static bool made_by_cron(const char *owner_name)
{
	const char *dash = strrchr(owner_name, '-');
	size_t digits;

	if (!dash)
		return false;
	digits = strspn(dash + 1, "0123456789");
	return dash[1 + digits] == '\0' &&
	       (digits == CRON_DIGITS_SECONDS || digits == CRON_DIGITS_MINUTES);
}

static bool holds(const struct builder_subject *subject, enum builder_sign sign, const char *key,
		  const char *value)
{
	switch (sign) {
	case BUILDER_SIGN_NONE:
		return true;
	case BUILDER_LABEL:
		return has_pair(subject->labels, subject->n_labels, key, value);
	case BUILDER_ANNOTATION:
		return has_pair(subject->annotations, subject->n_annotations, key, value);
	case BUILDER_META:
		return has_pair(subject->labels, subject->n_labels, key, value) ||
		       has_pair(subject->annotations, subject->n_annotations, key, value);
	case BUILDER_OWNER_KIND:
		return strcmp(subject->owner_kind, value) == 0;
	case BUILDER_IMAGE:
		for (size_t i = 0; i < subject->n_images; i++) {
			if (strstr(subject->images[i], value))
				return true;
		}
		return false;
	case BUILDER_NAME_PREFIX:
		return strncmp(subject->name, value, strlen(value)) == 0;
	case BUILDER_OWNER_SUFFIX:
		return ends_with(subject->owner_name, value);
	case BUILDER_NOT_CRON:
		return !made_by_cron(subject->owner_name);
	}
	return false;
}

const char *builders_match(const struct builder_table *table, const struct builder_subject *subject)
{
	for (size_t i = 0; i < table->n_rules; i++) {
		const struct builder_rule *rule = &table->rules[i];
		bool all = rule->signs[0].sign != BUILDER_SIGN_NONE;

		for (size_t j = 0; all && j < BUILDER_SIGNS; j++)
			all = holds(subject, rule->signs[j].sign, rule->signs[j].key,
				    rule->signs[j].value);
		if (all)
			return rule->builder;
	}
	return NULL;
}
