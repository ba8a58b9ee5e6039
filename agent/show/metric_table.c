// SPDX-License-Identifier: Apache-2.0
#include "show/metric_table.h"

#define ONE(field) METRIC_ONE, offsetof(struct metric_scalars, field)
#define ROW(rows, field) METRIC_##rows, offsetof(struct metric_row, field)

#define PER_LIMIT "limits on the way to a pod: 2 to 8"
#define PER_POD "pods on the node"
#define PER_CONTAINER "containers on the node"
#define PER_CGROUP "cgroups outside pods, at most as many as the snapshot keeps"

#define POD_LABELS "namespace,pod,builder"
#define CONTAINER_LABELS "namespace,pod,container,builder"

const struct metric metric_table[] = {
	/* Which limit. */
	{ "pidwarden_build_info", METRIC_GAUGE, ROW(INFO, count), "",
	  "version,cgroup,counting,mode,node",
	  "Always 1. cgroup: v1, hybrid or v2; counting: bpf, or none when the kernel's counters are "
	  "missing; mode: observe or throttle.",
	  "" },
	{ "pidwarden_node_limit_pids", METRIC_GAUGE, ROW(LIMIT, max), "PIDs", "limit",
	  "Usable maximum of each limit that a new task in a pod must pass (pid_max less the 300 that "
	  "the kernel keeps back).",
	  PER_LIMIT },
	{ "pidwarden_node_used_pids", METRIC_GAUGE, ROW(LIMIT, used), "PIDs", "limit",
	  "Use of each limit, in the unit that limit counts: PIDs allocated for pid_max, tasks for "
	  "the others.",
	  PER_LIMIT },
	{ "pidwarden_node_headroom_pids", METRIC_GAUGE, ROW(LIMIT, headroom), "PIDs", "limit",
	  "What is left below each limit; 0 when use is past it.", PER_LIMIT },
	{ "pidwarden_node_effective_headroom_pids", METRIC_GAUGE, ONE(effective_headroom), "PIDs",
	  "", "Smallest headroom among the limits that a new pod would meet.", "" },
	{ "pidwarden_node_binding_limit", METRIC_GAUGE, ROW(BINDING, count), "", "limit",
	  "1 for the limit with the smallest headroom, the one that would be hit first.", "1" },
	{ "pidwarden_node_limits_dropped", METRIC_GAUGE, ONE(limits_dropped), "limits", "",
	  "Limits left out of the list because the cgroup tree is too deep.", "" },

	/* Who holds it. */
	{ "pidwarden_node_tasks", METRIC_GAUGE, ONE(tasks), "tasks", "",
	  "Threads and zombies on the node.", "" },
	{ "pidwarden_node_pids_allocated", METRIC_GAUGE, ONE(pids_allocated), "PIDs", "",
	  "PIDs allocated in the root PID namespace, numbers of dead group and session leaders "
	  "included. Missing when it cannot be read.",
	  "" },
	{ "pidwarden_node_processes_created_total", METRIC_COUNTER, ONE(processes_created),
	  "processes", "",
	  "Processes created on the node since the agent started counting, cgroups long gone "
	  "included.",
	  "" },
	{ "pidwarden_node_threads_created_total", METRIC_COUNTER, ONE(threads_created), "threads",
	  "",
	  "Threads created on the node beyond the first of each process, since the agent started "
	  "counting.",
	  "" },
	{ "pidwarden_node_execs_total", METRIC_COUNTER, ONE(execs), "execs", "",
	  "Programs executed on the node since the agent started counting.", "" },
	{ "pidwarden_node_exits_total", METRIC_COUNTER, ONE(exits), "tasks", "",
	  "Tasks (threads and processes) ended on the node since the agent started counting.", "" },
	{ "pidwarden_pods", METRIC_GAUGE, ONE(pods), "pods", "", "Pods found in the cgroup tree.",
	  "" },
	{ "pidwarden_pods_unidentified", METRIC_GAUGE, ONE(pods_unidentified), "pods", "",
	  "Pods that the kubelet has not named; they are shown by their cgroup's name.", "" },
	{ "pidwarden_pods_tasks", METRIC_GAUGE, ONE(pod_tasks), "tasks", "",
	  "Tasks of all pods together.", "" },
	{ "pidwarden_pod_tasks", METRIC_GAUGE, ROW(POD, tasks), "tasks", POD_LABELS,
	  "Live tasks of the pod (pids.current: threads and zombies).", PER_POD },
	{ "pidwarden_pod_tasks_limit", METRIC_GAUGE, ROW(POD, limit), "tasks", POD_LABELS,
	  "Smallest pids.max within the pod's own directory. Missing when there is none.",
	  PER_POD },
	{ "pidwarden_pod_processes_created_total", METRIC_COUNTER, ROW(POD, processes_created),
	  "processes", POD_LABELS, "Processes created in the pod since the agent first saw it.",
	  PER_POD },
	{ "pidwarden_pod_threads_created_total", METRIC_COUNTER, ROW(POD, threads_created),
	  "threads", POD_LABELS,
	  "Threads created in the pod beyond the first of each process, since the agent first saw it.",
	  PER_POD },
	{ "pidwarden_pod_execs_total", METRIC_COUNTER, ROW(POD, execs), "execs", POD_LABELS,
	  "Programs executed in the pod since the agent first saw it.", PER_POD },
	{ "pidwarden_pod_exits_total", METRIC_COUNTER, ROW(POD, exits), "tasks", POD_LABELS,
	  "Tasks (threads and processes) ended in the pod since the agent first saw it.", PER_POD },
	{ "pidwarden_container_tasks", METRIC_GAUGE, ROW(CONTAINER, tasks), "tasks",
	  CONTAINER_LABELS,
	  "Live tasks of the container; container is POD for the sandbox, a short id while the "
	  "kubelet has not named it.",
	  PER_CONTAINER },
	{ "pidwarden_container_tasks_limit", METRIC_GAUGE, ROW(CONTAINER, limit), "tasks",
	  CONTAINER_LABELS, "pids.max of the container. Missing when there is none.",
	  PER_CONTAINER },
	{ "pidwarden_cgroup_tasks", METRIC_GAUGE, ROW(CGROUP, tasks), "tasks", "cgroup",
	  "Live tasks of a cgroup that belongs to no pod: a system service, a lone container.",
	  PER_CGROUP },
	{ "pidwarden_cgroup_tasks_limit", METRIC_GAUGE, ROW(CGROUP, limit), "tasks", "cgroup",
	  "pids.max of that cgroup. Missing when there is none.", PER_CGROUP },
	{ "pidwarden_cgroups_folded", METRIC_GAUGE, ONE(cgroups_folded), "cgroups", "",
	  "Cgroups outside pods that are not shown one by one, to bound the number of series.",
	  "" },
	{ "pidwarden_cgroups_folded_tasks", METRIC_GAUGE, ONE(cgroups_folded_tasks), "tasks", "",
	  "Live tasks in the cgroups that are not shown one by one.", "" },

	/* What is expected, and what is done about it. */
	{ "pidwarden_builds", METRIC_GAUGE, ONE(builds), "builds", "", "Builds running.", "" },
	{ "pidwarden_builds_tasks", METRIC_GAUGE, ONE(build_tasks), "tasks", "",
	  "Live tasks of all builds together.", "" },
	{ "pidwarden_build_budget", METRIC_GAUGE, ONE(budget), "builds", "",
	  "Builds that may run at once, the running ones included. Missing while not known.", "" },
	{ "pidwarden_build_expected_pids", METRIC_GAUGE, ONE(pids_per_build), "PIDs", "",
	  "PIDs that the budget allows for one build under the binding limit. Missing while not "
	  "known.",
	  "" },
	{ "pidwarden_node_expected_headroom_pids", METRIC_GAUGE, ONE(expected_headroom), "PIDs", "",
	  "Effective headroom when the builds now running are at their highest; negative when they "
	  "will not fit. Missing while not known.",
	  "" },
	{ "pidwarden_throttle_level", METRIC_GAUGE, ONE(level), "", "",
	  "0 normal, 1 watch, 2 throttle, 3 hold.", "" },
	{ "pidwarden_throttle_level_since_timestamp_seconds", METRIC_GAUGE, ONE(level_since),
	  "seconds", "", "When the level in force was entered, since the epoch.", "" },
	{ "pidwarden_throttle_active", METRIC_GAUGE, ONE(throttle_active), "", "",
	  "1 while a largest number of builds is in force (in observe mode: would be).", "" },
	{ "pidwarden_throttle_max_concurrent_builds", METRIC_GAUGE, ONE(max_concurrent), "builds",
	  "", "Largest number of builds in force. Missing when there is none.", "" },
	{ "pidwarden_lever_actions_total", METRIC_COUNTER, ROW(LEVER, count), "actions",
	  "lever,result", "What each lever did, or in observe mode would have done, by result.",
	  "levers by results: about 20" },

	/* Whether to believe it. */
	{ "pidwarden_kubelet_up", METRIC_GAUGE, ONE(kubelet_up), "", "",
	  "1 when the last request to the kubelet gave a good pod list, 0 when it failed or no "
	  "kubelet is configured.",
	  "" },
	{ "pidwarden_kubelet_last_success_timestamp_seconds", METRIC_GAUGE,
	  ONE(kubelet_last_success), "seconds", "",
	  "When the last good pod list arrived, since the epoch. Missing when none ever did.", "" },
	{ "pidwarden_kubelet_requests_total", METRIC_COUNTER, ONE(kubelet_requests), "requests", "",
	  "Requests for the kubelet's pod list.", "" },
	{ "pidwarden_kubelet_failures_total", METRIC_COUNTER, ONE(kubelet_failures), "requests", "",
	  "Requests for the kubelet's pod list that gave no good list.", "" },
	{ "pidwarden_kubelet_pods_skipped", METRIC_GAUGE, ONE(kubelet_items_skipped), "pods", "",
	  "Pods of the last list that were left out: too large, nested too deep, broken.", "" },
	{ "pidwarden_snapshot_age_seconds", METRIC_GAUGE, METRIC_AGE, 0, "seconds", "",
	  "Age of the counts shown here at the moment of this scrape.", "" },
	{ "pidwarden_snapshot_timestamp_seconds", METRIC_GAUGE, ONE(snapshot_time), "seconds", "",
	  "When the counts shown here were read, since the epoch.", "" },
	{ "pidwarden_snapshots_total", METRIC_COUNTER, ONE(snapshot_sequence), "snapshots", "",
	  "Full snapshots taken.", "" },
	{ "pidwarden_tick_duration_seconds", METRIC_GAUGE, ONE(tick_seconds), "seconds", "",
	  "How long the last tick took to read and join everything.", "" },
	{ "pidwarden_loop_longest_seconds", METRIC_GAUGE, ONE(loop_longest), "seconds", "",
	  "Longest time that one round of the main loop took since the tick before.", "" },
	{ "pidwarden_sentinel_realtime", METRIC_GAUGE, ONE(sentinel_realtime), "", "",
	  "1 when the emergency thread runs under SCHED_FIFO, 0 when that was refused and it must "
	  "queue for a CPU. Missing when it does not run.",
	  "" },
	{ "pidwarden_sentinel_wakeups_total", METRIC_COUNTER, ONE(sentinel_wakeups), "wakeups", "",
	  "Times that the trip wire woke the emergency thread.", "" },
	{ "pidwarden_sentinel_wakeup_seconds", METRIC_HISTOGRAM, METRIC_ONE, 0, "seconds", "",
	  "Time from the trip in the kernel to the emergency thread running.",
	  "one and three more than the buckets: at most 27" },
	{ "pidwarden_writer_queued_lines", METRIC_GAUGE, ONE(writer_queued), "lines", "",
	  "Lines waiting for the thread that writes to disk.", "" },
	{ "pidwarden_writer_dropped_lines_total", METRIC_COUNTER, ONE(writer_dropped), "lines", "",
	  "Lines lost because the writer's queue was full.", "" },
	{ "pidwarden_writer_failed_writes_total", METRIC_COUNTER, ONE(writer_failed), "writes", "",
	  "Log lines and state files that could not be written.", "" },

	/* What the agent itself costs. */
	{ "pidwarden_bpf_counting", METRIC_GAUGE, ONE(counting), "", "",
	  "1 when the kernel's counters run; 0 when there are only the cgroups' own counts and no "
	  "created, exec and exit totals.",
	  "" },
	{ "pidwarden_bpf_run_seconds_total", METRIC_COUNTER, ROW(PROGRAM, run_seconds), "seconds",
	  "program",
	  "CPU time spent in the BPF program. Counted only while the kernel's BPF statistics are "
	  "sampled: divide by pidwarden_bpf_runs_total, do not read it as a share of time.",
	  "BPF programs: about 10" },
	{ "pidwarden_bpf_runs_total", METRIC_COUNTER, ROW(PROGRAM, runs), "runs", "program",
	  "Runs of the BPF program. Counted only while the kernel's BPF statistics are sampled.",
	  "BPF programs: about 10" },
	{ "pidwarden_bpf_recursion_misses_total", METRIC_COUNTER, ROW(PROGRAM, recursion_misses),
	  "events", "program",
	  "Events that the BPF program missed because it was already running on that CPU.",
	  "BPF programs: about 10" },
	{ "pidwarden_bpf_lost_events_total", METRIC_COUNTER, ROW(LOST, count), "events", "kind",
	  "Events that were not, or not exactly, accounted for, by kind; anything above 0 means that "
	  "totals are too low.",
	  "kinds: about 6" },
	{ "process_cpu_seconds_total", METRIC_COUNTER, ONE(cpu_seconds), "seconds", "",
	  "User and system CPU time spent by the agent.", "" },
	{ "process_resident_memory_bytes", METRIC_GAUGE, ONE(resident_bytes), "bytes", "",
	  "Resident memory of the agent.", "" },
	{ "process_virtual_memory_bytes", METRIC_GAUGE, ONE(virtual_bytes), "bytes", "",
	  "Virtual memory of the agent.", "" },
	{ "process_virtual_memory_max_bytes", METRIC_GAUGE, ONE(max_virtual_bytes), "bytes", "",
	  "Limit on the agent's virtual memory. Missing when there is none.", "" },
	{ "process_open_fds", METRIC_GAUGE, ONE(open_fds), "files", "",
	  "Open file descriptors of the agent.", "" },
	{ "process_max_fds", METRIC_GAUGE, ONE(max_fds), "files", "",
	  "Limit on the agent's open file descriptors. Missing when there is none.", "" },
	{ "process_threads", METRIC_GAUGE, ONE(threads), "threads", "", "Threads of the agent.",
	  "" },
	{ "process_start_time_seconds", METRIC_GAUGE, ONE(start_seconds), "seconds", "",
	  "When the agent started, since the epoch.", "" },
};

const size_t metric_table_n = sizeof(metric_table) / sizeof(metric_table[0]);
