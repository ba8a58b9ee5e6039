// SPDX-License-Identifier: Apache-2.0
#include "views.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <time.h>

#include "phases.h"
#include "report.h"

static void time_value(struct buf *buf, int64_t wall_ms)
{
	time_t seconds = (time_t)(wall_ms / 1000);
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "\"%Y-%m-%dT%H:%M:%SZ\"", &tm);
	buf_str(buf, text);
}

static void metadata(struct buf *buf, const struct pod *pod)
{
	const struct pod_spec *spec = &pod->spec;

	buf_printf(buf, "\"metadata\":{\"name\":\"%s\",\"generateName\":\"%s-\",\"namespace\":",
		   pod->name, spec->job_name);
	buf_json_string(buf, spec->namespace);
	buf_printf(buf,
		   ",\"uid\":\"%s\",\"resourceVersion\":\"%" PRIu64 "\",\"creationTimestamp\":",
		   pod->uid, spec->index * 10 + spec->attempt);
	time_value(buf, pod->start_wall_ms);
	buf_printf(buf,
		   ",\"labels\":{\"batch.kubernetes.io/controller-uid\":\"%s\","
		   "\"batch.kubernetes.io/job-name\":\"%s\",\"controller-uid\":\"%s\","
		   "\"job-name\":\"%s\",\"type\":\"build-job\"}",
		   spec->job_uid, spec->job_name, spec->job_uid, spec->job_name);
	buf_str(buf,
		",\"annotations\":{\"build.tool\":\"maven\",\"build.type\":\"jee-microservice\","
		"\"kubernetes.io/config.seen\":");
	time_value(buf, pod->start_wall_ms);
	buf_printf(buf,
		   ",\"kubernetes.io/config.source\":\"api\"},\"ownerReferences\":[{\"apiVersion\":"
		   "\"batch/v1\",\"kind\":\"Job\",\"name\":\"%s\",\"uid\":\"%s\","
		   "\"controller\":true,\"blockOwnerDeletion\":true}]}",
		   spec->job_name, spec->job_uid);
}

static void spec(struct buf *buf, const struct pod *pod, const char *node_name)
{
	buf_printf(buf,
		   ",\"spec\":{\"containers\":[{\"name\":\"build\",\"image\":\"buildgen:local\","
		   "\"command\":[\"buildgen\",\"run-build\"],\"env\":["
		   "{\"name\":\"JOB_NAME\",\"value\":\"%s\"},"
		   "{\"name\":\"MAVEN_OPTS\",\"value\":\"-Xmx400m -Xms200m\"},"
		   "{\"name\":\"BUILD_TYPE\",\"value\":\"microservice\"},"
		   "{\"name\":\"THREADS_PER_PROCESS\",\"value\":\"%" PRIu64 "\"}],"
		   "\"resources\":{\"limits\":{\"cpu\":\"500m\",\"memory\":\"256Mi\"},"
		   "\"requests\":{\"cpu\":\"50m\",\"memory\":\"64Mi\"}},"
		   "\"imagePullPolicy\":\"IfNotPresent\"}],\"restartPolicy\":\"Never\","
		   "\"terminationGracePeriodSeconds\":30,\"dnsPolicy\":\"ClusterFirst\","
		   "\"nodeName\":",
		   pod->spec.job_name, pod->spec.threads);
	buf_json_string(buf, node_name);
	buf_str(buf, ",\"schedulerName\":\"default-scheduler\",\"priority\":0}");
}

static void container_state(struct buf *buf, const struct pod *pod)
{
	if (pod->state == POD_RUNNING) {
		buf_str(buf, "\"state\":{\"running\":{\"startedAt\":");
		time_value(buf, pod->start_wall_ms);
		buf_str(buf, "}},\"lastState\":{},\"ready\":true,\"started\":true");
		return;
	}
	buf_printf(buf,
		   "\"state\":{\"terminated\":{\"exitCode\":%d,\"reason\":\"%s\",\"startedAt\":",
		   pod->exit_status, pod->cause == POD_SUCCEEDED ? "Completed" : "Error");
	time_value(buf, pod->start_wall_ms);
	buf_str(buf, ",\"finishedAt\":");
	time_value(buf, pod->end_wall_ms);
	buf_printf(buf,
		   ",\"containerID\":\"containerd://%s\"}},\"lastState\":{},\"ready\":false,"
		   "\"started\":false",
		   pod->container_id);
}

/* Without a build that ever started, a kubelet's pod stays in ContainerCreating. */
static void container_waiting(struct buf *buf)
{
	buf_str(buf, "\"state\":{\"waiting\":{\"reason\":\"ContainerCreating\"}},\"lastState\":{},"
		     "\"ready\":false,\"started\":false");
}

static void status(struct buf *buf, const struct pod *pod)
{
	bool started = pod->cause != POD_START_FAILURE;
	const char *phase = pod->state == POD_RUNNING	? "Running" :
			    pod->cause == POD_SUCCEEDED ? "Succeeded" :
							  "Failed";
	const char *ready = pod->state == POD_RUNNING ? "True" : "False";

	buf_printf(buf,
		   ",\"status\":{\"phase\":\"%s\",\"conditions\":["
		   "{\"type\":\"Initialized\",\"status\":\"True\"},"
		   "{\"type\":\"Ready\",\"status\":\"%s\"},"
		   "{\"type\":\"ContainersReady\",\"status\":\"%s\"},"
		   "{\"type\":\"PodScheduled\",\"status\":\"True\"}],"
		   "\"hostIP\":\"127.0.0.1\",\"startTime\":",
		   phase, ready, ready);
	time_value(buf, pod->start_wall_ms);
	buf_str(buf, ",\"containerStatuses\":[{\"name\":\"build\",");
	if (started)
		container_state(buf, pod);
	else
		container_waiting(buf);
	buf_str(buf, ",\"restartCount\":0,\"image\":\"buildgen:local\",\"imageID\":\"\"");
	if (started)
		buf_printf(buf, ",\"containerID\":\"containerd://%s\"", pod->container_id);
	buf_str(buf, "}],\"qosClass\":\"Burstable\"}}");
}

static void pod_item(struct buf *buf, const struct pod *pod, const char *node_name, bool first)
{
	buf_str(buf, first ? "{" : ",{");
	metadata(buf, pod);
	spec(buf, pod, node_name);
	status(buf, pod);
}

void views_pods(struct buf *buf, const struct generator *generator)
{
	const char *node_name = generator->options->node_name;
	bool first = true;

	/* As the kubelet: no resourceVersion, and null for an empty list's items. */
	buf_str(buf, "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{},\"items\":");
	for (size_t i = 0; i < generator->n_pods; i++) {
		if (first)
			buf_char(buf, '[');
		pod_item(buf, generator->pods[i], node_name, first);
		first = false;
	}
	for (size_t i = 0; i < GENERATOR_RECENT && generator->recent[i]; i++) {
		if (first)
			buf_char(buf, '[');
		pod_item(buf, generator->recent[i], node_name, first);
		first = false;
	}
	buf_str(buf, first ? "null}\n" : "]}\n");
}

static void status_phases(struct buf *buf, const struct generator *generator)
{
	uint64_t n[PHASE_COUNT + 2] = { 0 }; /* over, and starting, are at the end */

	for (size_t i = 0; i < generator->n_pods; i++) {
		const struct pod *pod = generator->pods[i];
		uint32_t phase;

		if (pod->state != POD_RUNNING)
			continue;
		phase = atomic_load(&pod->page->phase);
		if (atomic_load(&pod->page->magic) != PAGE_MAGIC || phase > PHASE_COUNT)
			phase = PHASE_COUNT + 1;
		n[phase]++;
	}
	buf_str(buf, "  \"phases\": {");
	for (unsigned int i = 0; i < PHASE_COUNT + 2; i++)
		buf_printf(buf, "%s\"%s\": %" PRIu64, i > 0 ? ", " : "", phases_name(i), n[i]);
	buf_str(buf, "},\n");
}

static void status_builds(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	buf_str(buf, "  \"builds\": [");
	for (size_t i = 0; i < generator->n_pods; i++) {
		const struct pod *pod = generator->pods[i];

		buf_printf(buf,
			   "%s\n    {\"pod\": \"%s\", \"attempt\": %" PRIu64
			   ", \"age_ms\": %" PRId64,
			   i > 0 ? "," : "", pod->name, pod->spec.attempt, now_ms - pod->start_ms);
		if (pod->page)
			buf_printf(buf, ", \"phase\": \"%s\", \"processes\": %" PRIu32,
				   phases_name(atomic_load(&pod->page->phase)),
				   atomic_load(&pod->page->processes));
		buf_char(buf, '}');
	}
	buf_str(buf, "],\n");
}

static void number_or_null(struct buf *buf, uint64_t value)
{
	if (value == UINT64_MAX)
		buf_str(buf, "null");
	else
		buf_u64(buf, value);
}

static void status_throttle(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	const struct throttle *throttle = &generator->throttle;

	buf_str(buf, "  \"throttle\": {\"max_concurrent\": ");
	number_or_null(buf, throttle_limit(throttle));
	buf_printf(buf, ", \"obeyed\": %s, \"hints\": [",
		   generator->options->ignore_hints ? "false" : "true");
	for (size_t i = 0; i < throttle->n; i++) {
		const struct throttle_entry *entry = &throttle->entries[i];

		buf_printf(buf, "%s\n    {\"scope\": \"%s\", \"node\": ", i > 0 ? "," : "",
			   entry->hint.cluster ? "cluster" : "node");
		buf_json_string(buf, entry->hint.node);
		buf_printf(buf, ", \"sequence\": %" PRIu64 ", \"max_concurrent\": ",
			   entry->hint.sequence);
		number_or_null(buf, entry->hint.max_concurrent);
		buf_str(buf, ", \"reason\": ");
		buf_json_string(buf, entry->hint.reason);
		buf_printf(buf, ", \"expires_in_s\": %.1f}",
			   (double)(entry->expires_ms - now_ms) / 1000);
	}
	buf_str(buf, "]},\n");
}

void views_status(struct buf *buf, const struct generator *generator, int64_t now_ms)
{
	const char *source;
	uint64_t peak = node_peak(generator->node, &source);

	buf_printf(buf, "{\n  \"state\": \"%s\",\n  \"node\": {\"cgroup\": ",
		   generator_state_name(generator->state));
	buf_json_string(buf, generator->node->dir);
	buf_printf(buf, ", \"pids\": %" PRIu64 ", \"limit\": ", generator->current);
	number_or_null(buf, generator->node->limit);
	buf_printf(buf, ", \"highest\": %" PRIu64 "},\n", peak);
	buf_printf(buf,
		   "  \"wanted\": %" PRIu64 ",\n  \"allowed\": %" PRIu64 ",\n  \"running\": %zu,\n"
		   "  \"waiting_for_retry\": %zu,\n",
		   generator->options->concurrency, generator_allowed(generator),
		   generator_running(generator), generator->n_retries);
	status_phases(buf, generator);
	status_throttle(buf, generator, now_ms);
	status_builds(buf, generator, now_ms);
	report_counts(buf, generator);
	buf_str(buf, "\n}\n");
}
