// SPDX-License-Identifier: Apache-2.0
#include "core/builders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct sample {
	const char *what;
	const char *name, *owner_kind, *owner_name;
	struct builder_pair label, annotation;
	const char *image;
	const char *builder; /* NULL: no build */
};

/* After the table in the documentation of each ecosystem, and real pods of clusters. */
static const struct sample samples[] = {
	{ "the incident's job",
	  "build-api-authentication-3-12-5-s-1-98h77",
	  "Job",
	  "build-api-authentication-3-12-5-s-1",
	  { "type", "build-job" },
	  { 0 },
	  "busybox",
	  "job" },
	{ "its label alone", "x", "Job", "x", { "type", "build-job" }, { 0 }, "busybox", "job" },
	{ "another type", "x", "Job", "x", { "type", "report-job" }, { 0 }, "busybox", NULL },
	{ "build.type", "x", "Job", "x", { 0 }, { "build.type", "maven" }, "busybox", "job" },
	{ "build.tool", "x", "Job", "x", { 0 }, { "build.tool", "npm" }, "busybox", "job" },
	{ "as a label it says nothing", "x", "Job", "x", { "build.tool", "npm" }, { 0 }, "", NULL },
	{ "by its job's name",
	  "api-auth-3-12-5-s-1-build-4x2lk",
	  "Job",
	  "api-auth-3-12-5-s-1-build",
	  { 0 },
	  { 0 },
	  "busybox",
	  "job" },
	{ "a name without a job",
	  "build-farm-7d9f",
	  "ReplicaSet",
	  "build-farm",
	  { 0 },
	  { 0 },
	  "",
	  NULL },
	{ "a plain job",
	  "migrate-4x2lk",
	  "Job",
	  "migrate",
	  { "job-name", "migrate" },
	  { 0 },
	  "",
	  NULL },
	{ "a cron job's, minutes",
	  "cleanup-29391840-abcde",
	  "Job",
	  "cleanup-29391840",
	  { 0 },
	  { 0 },
	  "",
	  NULL },
	{ "build-named, of a cron job",
	  "build-index-29391840-abcde",
	  "Job",
	  "build-index-29391840",
	  { 0 },
	  { 0 },
	  "",
	  NULL },
	{ "the same before 1.21, seconds",
	  "build-index-1763510400-abcde",
	  "Job",
	  "build-index-1763510400",
	  { 0 },
	  { 0 },
	  "",
	  NULL },
	{ "a version is no cron time",
	  "build-index-3-12-5-abcde",
	  "Job",
	  "build-index-3-12-5",
	  { 0 },
	  { 0 },
	  "",
	  "job" },
	{ "a labelled build of a cron job",
	  "nightly-29391840-abcde",
	  "Job",
	  "nightly-29391840",
	  { "type", "build-job" },
	  { 0 },
	  "",
	  "job" },
	{ "lambda builder",
	  "x",
	  "Job",
	  "x",
	  { "app", "knative-lambda-builder" },
	  { 0 },
	  "",
	  "kaniko" },
	{ "lambda builder's ids",
	  "x",
	  "Job",
	  "x",
	  { "build.notifi.network/parser-id", "1" },
	  { 0 },
	  "",
	  "kaniko" },
	{ "kaniko by image",
	  "x",
	  "",
	  "",
	  { 0 },
	  { 0 },
	  "gcr.io/kaniko-project/executor:v1.23",
	  "kaniko" },
	{ "kaniko driven by tekton",
	  "x",
	  "TaskRun",
	  "x",
	  { "tekton.dev/taskRun", "x" },
	  { 0 },
	  "gcr.io/kaniko-project/executor:v1.23",
	  "tekton" },
	{ "pipeline run",
	  "x",
	  "TaskRun",
	  "x",
	  { "tekton.dev/pipelineRun", "x" },
	  { 0 },
	  "",
	  "tekton" },
	{ "affinity assistant",
	  "affinity-assistant-0",
	  "StatefulSet",
	  "affinity-assistant",
	  { "tekton.dev/pipelineRun", "x" },
	  { 0 },
	  "",
	  NULL },
	{ "tekton's own controller",
	  "tekton-pipelines-controller-x",
	  "ReplicaSet",
	  "x",
	  { "app.kubernetes.io/managed-by", "tekton-pipelines" },
	  { 0 },
	  "",
	  NULL },
	{ "build workspace",
	  "x",
	  "Job",
	  "x",
	  { "mlops.redhat.com/build-workspace", "true" },
	  { 0 },
	  "",
	  "tekton" },
	{ "openshift",
	  "app-1-build",
	  "Build",
	  "app-1",
	  { "openshift.io/build.name", "app-1" },
	  { "openshift.io/build.name", "app-1" },
	  "",
	  "openshift" },
	{ "buildkite", "x", "Job", "x", { "buildkite.com/job-uuid", "u" }, { 0 }, "", "buildkite" },
	{ "buildkite's annotation",
	  "x",
	  "",
	  "",
	  { 0 },
	  { "buildkite.com/build-url", "u" },
	  "",
	  "buildkite" },
	{ "buildkite's owner", "x", "BuildJob", "x", { 0 }, { 0 }, "", "buildkite" },
	{ "ephemeral runner",
	  "x",
	  "EphemeralRunner",
	  "x",
	  { "actions-ephemeral-runner", "True" },
	  { 0 },
	  "",
	  "github-arc" },
	{ "scale set",
	  "x",
	  "EphemeralRunner",
	  "x",
	  { "actions.github.com/scale-set-name", "s" },
	  { 0 },
	  "",
	  "github-arc" },
	{ "its listener builds nothing",
	  "x-listener",
	  "AutoscalingListener",
	  "x",
	  { "actions.github.com/scale-set-name", "s" },
	  { 0 },
	  "",
	  NULL },
	{ "legacy runner",
	  "x",
	  "Runner",
	  "x",
	  { "runner-deployment-name", "d" },
	  { 0 },
	  "",
	  "github-arc" },
	{ "gitlab",
	  "runner-x-project-1-concurrent-0",
	  "",
	  "",
	  { 0 },
	  { "job.runner.gitlab.com/id", "9" },
	  "",
	  "gitlab" },
	{ "jenkins", "x", "", "", { "jenkins", "slave" }, { 0 }, "", "jenkins" },
	{ "jenkins itself", "x", "", "", { "jenkins", "master" }, { 0 }, "", NULL },
	{ "jenkins label", "x", "", "", { "jenkins/label", "l" }, { 0 }, "", "jenkins" },
	{ "argo",
	  "x",
	  "Workflow",
	  "x",
	  { "workflows.argoproj.io/workflow", "w" },
	  { 0 },
	  "",
	  "argo" },
	{ "prow", "x", "", "", { "created-by-prow", "true" }, { 0 }, "", "prow" },
	{ "shipwright runs a TaskRun",
	  "x",
	  "TaskRun",
	  "x",
	  { "buildrun.shipwright.io/name", "b" },
	  { 0 },
	  "",
	  "shipwright" },
	{ "a web server",
	  "web-6654d4456f-zc6v5",
	  "ReplicaSet",
	  "web-6654d4456f",
	  { "app", "web" },
	  { 0 },
	  "nginx",
	  NULL },
};

static void test_samples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *s = &samples[i];
		const struct builder_subject subject = {
			.name = s->name,
			.owner_kind = s->owner_kind,
			.owner_name = s->owner_name,
			.labels = &s->label,
			.n_labels = s->label.key != NULL,
			.annotations = &s->annotation,
			.n_annotations = s->annotation.key != NULL,
			.images = &s->image,
			.n_images = 1,
		};
		const char *builder = builders_match(builders_default(), &subject);

		if (!builder != !s->builder || (builder && strcmp(builder, s->builder) != 0))
			fail_msg("%s: %s", s->what, builder ? builder : "no build");
		if (s->builder && s->label.key && s->label.value && !s->annotation.key &&
		    *s->image == '\0' && strncmp(s->name, "build-", 6) != 0 &&
		    strcmp(s->owner_kind, "BuildJob") != 0)
			assert_true(builders_wants_label(builders_default(), s->label.key));
	}
}

static void test_wants(void **state)
{
	(void)state;
	assert_false(builders_wants_label(builders_default(), "service"));
	assert_false(builders_wants_label(builders_default(), "build.type"));
	assert_true(builders_wants_annotation(builders_default(), "build.type"));
	assert_false(builders_wants_annotation(builders_default(),
					       "kubectl.kubernetes.io/last-applied-configuration"));
	assert_true(builders_wants_label(builders_default(), "job.runner.gitlab.com/id"));
	assert_true(builders_wants_annotation(builders_default(), "job.runner.gitlab.com/id"));
}

static void test_own_table(void **state)
{
	static const struct builder_rule rules[] = {
		{ "none", { { BUILDER_SIGN_NONE, NULL, NULL } } },
		{ "mine",
		  { { BUILDER_LABEL, "team", "ci" }, { BUILDER_NAME_PREFIX, NULL, "b-" } } },
	};
	static const struct builder_table table = { rules, 2 };
	static const struct builder_pair label = { "team", "ci" };
	struct builder_subject subject = {
		.name = "b-1", .owner_kind = "", .owner_name = "", .labels = &label, .n_labels = 1
	};

	(void)state;
	assert_string_equal(builders_match(&table, &subject), "mine");
	subject.name = "c-1";
	assert_null(builders_match(&table, &subject));
	assert_true(builders_wants_label(&table, "team"));
	assert_false(builders_wants_label(&table, "type"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
		cmocka_unit_test(test_wants),
		cmocka_unit_test(test_own_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
