#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Without BPF: it says which right is missing and what works without it, live counts are right, and
totals are missing rather than 0."""

import os
import shutil

import e2e

TOTALS = ["%s_%s_total" % (prefix, kind) for prefix in ("pidwarden_pod", "pidwarden_node")
          for kind in ("processes_created", "threads_created", "execs", "exits")]


def check(words, *options, wrap=(), state=True):
    with e2e.Node() as node, e2e.Kubelet(node) as kubelet:
        pod = node.pod("build-one")
        node.hold(pod.container("build").path, 7, 2)
        zero = node.pod("idle")
        agent = e2e.Agent("--interval", "100ms", *kubelet.options(), *options, node=node, wrap=wrap)
        with agent:
            e2e.wait_for("names", 10, lambda: agent.tick().find(
                "pidwarden_pod_tasks", pod="build-one") is not None)
            more = node.hold(pod.containers[1].path, 4)
            for metrics in agent.ticks(3):
                assert metrics.value("pidwarden_pod_tasks", pod="build-one") == pod.current()
                assert metrics.value("pidwarden_container_tasks", pod="build-one",
                                     container="build") == pod.containers[1].current()
                assert metrics.value("pidwarden_pod_tasks", pod="idle") == zero.current() == 0
                assert metrics.value("pidwarden_node_used_pids", limit="node") == int(
                    e2e.read(node.path + "/pids.current"))
            assert metrics.value("pidwarden_bpf_counting") == 0
            assert metrics["pidwarden_build_info"][0][0]["counting"] == "none"
            for name in TOTALS + ["pidwarden_node_pids_allocated", "pidwarden_bpf_runs_total",
                                  "pidwarden_sentinel_wakeups_total"]:
                assert name not in metrics, name
            # What is not a total of the kernel's counters is there.
            for name in ("pidwarden_throttle_level", "pidwarden_node_effective_headroom_pids",
                         "pidwarden_builds", "pidwarden_build_budget"):
                assert metrics.find(name) is not None, name
            state = agent.json("/api/v1/node")
            assert state["totals"] is None and state["pids_allocated"] is None
            assert state["sources"]["bpf"]["up"] is False
            for pod_row in agent.json("/api/v1/pods")["pods"]:
                assert pod_row["totals"] is None, pod_row
            ready, text = agent.get("/readyz")
            assert ready == 200 and "counters: none" in text, text
            for where, said in (("log", agent.log()), ("/readyz", text),
                                ("/api/v1/node", state["sources"]["bpf"]["error"])):
                for word in words:
                    assert word in said, (where, word, said)
            e2e.let_go(more)
            code = agent.process.returncode
            assert code is None
            agent.process.terminate()
            assert agent.process.wait(10) == 0, agent.log()


def switched_off():
    check(["switched off"], "--no-bpf")


def without(*capabilities):
    if not shutil.which("setpriv"):
        raise e2e.Skip("no setpriv (util-linux) to drop capabilities with")
    return ["setpriv", "--bounding-set", ",".join("-" + c for c in capabilities), "--inh-caps",
            ",".join("-" + c for c in capabilities)]


def no_capabilities():
    # Of root nothing is kept but what the bounding set holds.
    check(["CAP_BPF", "CAP_PERFMON", "live tasks and limits", "missing are"],
          wrap=without("bpf", "perfmon", "sys_admin"))


def no_perfmon():
    check(["CAP_PERFMON", "live tasks and limits"], wrap=without("perfmon", "sys_admin"))


def unprivileged():
    """Nobody, who may read cgroups but nothing else. The programs lie where nobody may not go."""
    if not shutil.which("setpriv"):
        raise e2e.Skip("no setpriv (util-linux) to become nobody with")
    place = e2e.tempfile.mkdtemp(dir=e2e.setting.work)
    os.chmod(e2e.setting.work, 0o755)
    os.chmod(place, 0o755)
    program = shutil.copy(e2e.setting.agent, place)
    before, e2e.setting.agent = e2e.setting.agent, program
    try:
        check(["CAP_BPF", "live tasks and limits"],
              wrap=["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups",
                    "--bounding-set", "-all", "--inh-caps", "-all"])
    finally:
        e2e.setting.agent = before


e2e.run([switched_off, no_capabilities, no_perfmon, unprivileged])
