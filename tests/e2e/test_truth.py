#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Counts are the kernel's: live tasks against pids.current on plateaus, created counters against what
the programs say that they made."""

import contextlib
import os
import signal
import subprocess
import time

import e2e

KINDS = {"processes": "processes_created", "threads": "threads_created", "execs": "execs",
         "exits": "exits"}


def add(sums, key, counts):
    have = sums.setdefault(key, dict.fromkeys(KINDS, 0))
    for kind in KINDS:
        have[kind] += counts[kind]


def plateau(agent, node, what):
    """Three ticks in a row, each compared with pids.current of every pod and container."""
    for metrics in agent.ticks(3):
        truth = []
        for pod in list(node.pods):
            truth.append(("pidwarden_pod_tasks", {"pod": pod.name}, pod.current()))
            for container in pod.containers:
                truth.append(("pidwarden_container_tasks",
                              {"pod": pod.name, "container": container.name}, container.current()))
        for name, labels, current in truth:
            shown = metrics.find(name, **labels)
            assert shown == current, "%s: %s%s is %s, the kernel says %d" % (
                what, name, labels, shown, current)
        current = int(e2e.read(node.path + "/pids.current"))
        assert metrics.value("pidwarden_node_tasks") == current, what
        assert metrics.value("pidwarden_node_used_pids", limit="node") == current, what
        assert metrics.value("pidwarden_pods") == len(node.pods), what
        assert metrics.value("pidwarden_pods_tasks") == sum(pod.current() for pod in node.pods)


def totals(agent, sums, node_sum, what):
    """Every counter against what was said; a fold may arrive a tick after its cgroup went."""
    deadline = time.monotonic() + 5
    while True:
        metrics = agent.tick()
        wrong = []
        for pod, counts in sums.items():
            for kind, name in KINDS.items():
                shown = metrics.find("pidwarden_pod_%s_total" % name, pod=pod)
                if shown != counts[kind]:
                    wrong.append("%s %s: %s, made %d" % (pod, kind, shown, counts[kind]))
        for kind, name in KINDS.items():
            shown = metrics.find("pidwarden_node_%s_total" % name)
            if shown != node_sum[kind]:
                wrong.append("node %s: %s, made %d" % (kind, shown, node_sum[kind]))
        if not wrong:
            break
        assert time.monotonic() < deadline, "%s: %s" % (what, "; ".join(wrong))
    # And they stay there.
    again = agent.ticks(2)[-1]
    for kind, name in KINDS.items():
        assert again.find("pidwarden_node_%s_total" % name) == node_sum[kind], (what, kind)
    lost = [row for row in again["pidwarden_bpf_lost_events_total"] if row[1] != 0]
    assert not lost, lost


@contextlib.contextmanager
def watched(interval="100ms", **options):
    with e2e.Node(**options) as node, e2e.Kubelet(node) as kubelet:
        pods = [node.pod("build-api-3-12-5-s-1-%d" % i) for i in range(3)]
        for pod in pods:
            pod.container("build")
            pod.container("agent")
        with e2e.Agent("--interval", interval, *kubelet.options(), node=node) as agent:
            if agent.metrics().value("pidwarden_bpf_counting") != 1:
                raise e2e.Skip("no BPF here: " + agent.json("/api/v1/node")["sources"]["bpf"]
                               ["error"])
            e2e.wait_for("names", 10, lambda: agent.metrics().value("pidwarden_kubelet_up") == 1 and
                         agent.tick().value("pidwarden_pods_unidentified") == 0)
            yield node, pods, agent


def run_storm(node, container, *argv):
    """A storm from its exec to its exit."""
    child = node.run(container.path, e2e.setting.storm, *map(str, argv), stdout=subprocess.PIPE)
    return e2e.made(child)


def plateaus():
    """Rising, falling, threads, zombies, nested cgroups: each step stands for three ticks."""
    with watched() as (node, pods, agent):
        sums, node_sum = {}, {}

        def say(pod, counts):
            add(sums, pod.name, counts)
            add(node_sum, "node", counts)

        plateau(agent, node, "nothing runs")
        one = node.hold(pods[0].containers[1].path, 20, 2)
        two = node.hold(pods[1].containers[2].path, 40)
        pause = node.hold(pods[2].sandbox.path, 1)
        plateau(agent, node, "three hold")
        three = node.hold(pods[0].containers[2].path, 5, 10)
        plateau(agent, node, "one more")
        for round in range(2):
            for pod in pods:
                for mode in ("fork", "vfork", "clone3", "thread", "exec"):
                    say(pod, run_storm(node, pod.containers[1], mode, 50 + 7 * round))
            plateau(agent, node, "after a storm")
        # Killed and not yet reaped: the storm reaps when it is let go. A zombie's threads are gone.
        children = [int(tgid) for tgid in e2e.read(one_path(pods[0]) + "/cgroup.procs").split()
                    if int(tgid) != one.pid]
        for tgid in children:
            os.kill(tgid, signal.SIGKILL)
        e2e.wait_for("20 zombies", 10, lambda: pods[0].containers[1].current() == 21)
        assert all(state(tgid) == "Z" for tgid in children)
        plateau(agent, node, "20 zombies")
        say(pods[0], e2e.let_go(one))
        plateau(agent, node, "reaped")
        # A container that makes cgroups of its own (docker in docker): its tasks are its pod's.
        nested = pods[1].containers[1].path + "/docker/" + "b" * 64
        e2e.make_cgroup(nested)
        inner = node.hold(nested, 7, 1) if not node.v2 else None
        plateau(agent, node, "nested")
        if inner:
            say(pods[1], e2e.let_go(inner))
        say(pods[1], e2e.let_go(two))
        say(pods[0], e2e.let_go(three))
        say(pods[2], e2e.let_go(pause))
        plateau(agent, node, "all gone")
        totals(agent, sums, node_sum["node"], "plateaus")
        agent.stop()


def one_path(pod):
    return pod.containers[1].path


def state(tgid):
    return e2e.read("/proc/%d/stat" % tgid).rsplit(")", 1)[1].split()[0]


def between_ticks():
    """Containers and whole pods that came and went within one tick of half a second."""
    with watched("500ms") as (node, pods, agent):
        sums = {pod.name: dict.fromkeys(KINDS, 0) for pod in pods}
        node_sum = {"node": dict.fromkeys(KINDS, 0)}
        before = agent.tick().value("pidwarden_snapshots_total")
        seen = {}
        count = 0
        for round in range(8):
            for pod in pods:
                short = pod.container("init-%d" % round)
                for mode in ("fork", "thread"):
                    counts = run_storm(node, short, mode, 20 + round)
                    add(sums, pod.name, counts)
                    add(node_sum, "node", counts)
                short.remove()
                count += 1
            gone = node.pod()
            counts = run_storm(node, gone.container("only"), "vfork", 30 + round)
            add(node_sum, "node", counts)
            gone.remove()
            count += 1
            # Counters never fall, whatever the tick catches half-way.
            metrics = agent.metrics()
            for name in KINDS.values():
                for key, shown in [("node", metrics.value("pidwarden_node_%s_total" % name))] + [
                        (pod.name, metrics.value("pidwarden_pod_%s_total" % name, pod=pod.name))
                        for pod in pods]:
                    assert shown >= seen.get((key, name), 0), (key, name, shown)
                    seen[key, name] = shown
        ticks = agent.metrics().value("pidwarden_snapshots_total") - before
        assert count > ticks, "too slow to fall between ticks: %d in %d" % (count, ticks)
        totals(agent, sums, node_sum["node"], "short ones")
        return "%d cgroups in %d ticks" % (count, ticks)


def into_cgroup():
    """CLONE_INTO_CGROUP: a child is charged where it starts, not where its parent is."""
    with watched() as (node, pods, agent):
        parent, child = pods[0].containers[1], pods[1].containers[1]
        sums, node_sum = {}, {}
        if node.v2:
            counts = run_storm(node, parent, "into", child.path, 60)
            # The storm itself is in the one, what it makes in the other.
            add(sums, pods[0].name, {"processes": 0, "threads": 0, "execs": 1, "exits": 1})
            add(sums, pods[1].name, {"processes": 60, "threads": 0, "execs": 0, "exits": 60})
        else:
            unified = e2e.unified_mount()
            if not unified:
                raise e2e.Skip("CLONE_INTO_CGROUP needs a cgroup v2 mount")
            # Another cgroup in the hierarchy without pids, the parent's own in the one with it.
            other = "%s/pidwarden-e2e-into-%d" % (unified, os.getpid())
            os.mkdir(other)
            try:
                counts = run_storm(node, parent, "into", other, 60)
            finally:
                e2e.remove_cgroup(other)
            add(sums, pods[0].name, counts)
            add(sums, pods[1].name, dict.fromkeys(KINDS, 0))
        add(node_sum, "node", counts)
        totals(agent, sums, node_sum["node"], "into")
        return "pids on %s" % ("v2" if node.v2 else "v1: charged where the parent is")


def busy():
    """Storms in every pod at once, on both CPUs, while others end and their containers go."""
    with watched("200ms") as (node, pods, agent):
        sums, node_sum = {}, {}
        for round in range(4):
            running = []
            for pod in pods:
                for mode in ("fork", "vfork", "thread", "clone3"):
                    container = pod.container("c-%s-%d" % (mode, round))
                    running.append((pod, container, node.run(
                        container.path, e2e.setting.storm, mode, "150", stdout=subprocess.PIPE)))
            for pod, container, child in running:
                counts = e2e.made(child)
                add(sums, pod.name, counts)
                add(node_sum, "node", counts)
                container.remove()
        totals(agent, sums, node_sum["node"], "busy")


e2e.run([plateaus, between_ticks, into_cgroup, busy])
