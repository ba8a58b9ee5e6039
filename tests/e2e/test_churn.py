#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Cgroups that come, go, come back and nest; and the node itself going."""

import time

import e2e


def nested():
    """A container with 300 cgroups of its own: all its tasks are its pod's, counters included."""
    with e2e.Node(900) as node, e2e.Kubelet(node) as kubelet:
        pod = node.pod("docker-in-docker")
        container = pod.container("build")
        if node.v2:
            raise e2e.Skip("on v2 a cgroup with children holds no tasks; the shape differs")
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node) as agent:
            agent.ticks(2)
            files = lambda: len(e2e.os.listdir("/proc/%d/fd" % agent.process.pid))
            before = files()
            inner = []
            loop = e2e.LoopWatch(agent)
            for i in range(30):
                for j in range(10):
                    path = container.path
                    for k in range(j % 4):
                        path += "/n%d" % k
                    path += "/c-%d-%d" % (i, j)
                    e2e.make_cgroup(path)
                    inner.append(path)
            held = [node.hold(path, 2) for path in inner[::25]]
            sums = dict.fromkeys(("processes", "threads", "execs", "exits"), 0)
            for metrics in agent.ticks(3):
                assert metrics.value("pidwarden_pod_tasks", pod=pod.name) == pod.current() == 36
                assert metrics.value("pidwarden_container_tasks", container="build") == 36
                assert len(metrics["pidwarden_container_tasks"]) == 2, "nested ones are no rows"
                loop.sample(metrics)
            assert files() <= before + 4, "a file a nested cgroup: %d, %d" % (before, files())
            loop.check()
            for child in held:
                for kind, value in e2e.let_go(child).items():
                    sums[kind] += value
            for path in inner:
                e2e.remove_cgroup(path)
            if metrics.value("pidwarden_bpf_counting") == 1:
                e2e.wait_for("counters of nested cgroups", 5, lambda: [
                    agent.tick().find("pidwarden_pod_%s_total" % name, pod=pod.name) for name in
                    ("processes_created", "threads_created", "execs", "exits")] == list(
                        sums.values()))
            agent.stop()


def same_uid_again():
    """A pod's directory is removed and made again under its uid: counts start anew, tasks are right."""
    with e2e.Node() as node, e2e.Kubelet(node) as kubelet:
        first = node.pod("phoenix")
        uid = first.uid
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node) as agent:
            pod = first
            for round in range(6):
                child = node.hold(pod.container("build").path, 9 - round)
                e2e.wait_for("named", 5, lambda: agent.tick().find(
                    "pidwarden_pod_tasks", pod="phoenix") == pod.current())
                for metrics in agent.ticks(2):
                    assert metrics.value("pidwarden_pods") == 1
                    assert metrics.value("pidwarden_pod_tasks", pod="phoenix") == pod.current()
                counts = e2e.let_go(child)
                if metrics.value("pidwarden_bpf_counting") == 1:
                    e2e.wait_for("its own count, not its predecessor's", 3, lambda: agent.tick(
                        ).value("pidwarden_pod_processes_created_total",
                                pod="phoenix") == counts["processes"])
                pod.remove()
                if round % 2:
                    # Seen gone in between, or not.
                    assert agent.tick().value("pidwarden_pods") == 0
                pod = node.pod("phoenix", uid=uid)
            agent.stop()


def limits_change():
    """pids.max of pod, container, kubepods and node is the kernel's within a few ticks."""
    with e2e.Node(600) as node, e2e.Kubelet(node) as kubelet:
        pod = node.pod("limited")
        container = pod.container("build", 50)
        node.hold(container.path, 3)
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node) as agent:
            e2e.wait_for("names", 5, lambda: agent.tick().find(
                "pidwarden_container_tasks_limit", container="build") == 50)
            e2e.write(pod.path + "/pids.max", 40)
            e2e.write(container.path + "/pids.max", 60)
            e2e.write(node.path + "/pids.max", 500)
            e2e.write(node.path + "/kubepods/pids.max", 300)
            e2e.wait_for("pod's limit", 12, lambda: agent.tick().find(
                "pidwarden_pod_tasks_limit", pod="limited") == 40)
            e2e.wait_for("container's limit", 12, lambda: agent.tick().find(
                "pidwarden_container_tasks_limit", container="build") == 60)
            metrics = agent.tick()
            assert metrics.value("pidwarden_node_limit_pids", limit="node") == 500
            assert metrics.value("pidwarden_node_limit_pids", limit="/kubepods") == 300
            assert metrics.value("pidwarden_node_headroom_pids", limit="/kubepods") == 300 - int(
                e2e.read(node.path + "/kubepods/pids.current"))
            assert metrics.value("pidwarden_node_binding_limit", limit="/kubepods") == 1
            e2e.write(node.path + "/kubepods/pids.max", "max")
            metrics = agent.tick()
            assert metrics.find("pidwarden_node_limit_pids", limit="/kubepods") is None
            assert metrics.value("pidwarden_node_binding_limit", limit="node") == 1
            agent.stop()


def node_goes():
    """The node's cgroup is removed while the agent watches it: it says so, serves on, its figures
    grow old, and old figures raise no level."""
    with e2e.Node() as node, e2e.Kubelet(node) as kubelet:
        pod = node.pod("last-one")
        child = node.hold(pod.container("build").path, 5)
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node) as agent:
            e2e.wait_for("names", 5, lambda: agent.tick().find(
                "pidwarden_pod_tasks", pod="last-one") == pod.current())
            e2e.let_go(child)
            agent.ticks(2)
            e2e.remove_cgroup(node.path)
            e2e.wait_for("it is said", 3, lambda: "the last figures stay and grow old" in agent.log())
            level = agent.metrics().value("pidwarden_throttle_level")
            first = agent.metrics().value("pidwarden_snapshot_age_seconds")
            time.sleep(1.2)
            metrics = agent.metrics()
            second = metrics.value("pidwarden_snapshot_age_seconds")
            assert 0.9 < second - first < 3 and second > 1, (first, second)
            assert metrics.value("pidwarden_throttle_level") <= level
            assert metrics.find("pidwarden_pod_tasks", pod="last-one") is not None
            assert agent.log().count("the last figures stay") == 1, "said once"
            for path in ("/", "/healthz", "/readyz", "/api/v1/node", "/api/v1/pods"):
                assert agent.get(path)[0] in (200, 503), path
            assert agent.process.poll() is None
            # Made again under its name: taken up, and nothing of the old one is left in it.
            e2e.make_cgroup(node.path + "/kubepods/burstable")
            metrics = e2e.wait_for("the new node", 5, lambda: (
                agent.metrics().value("pidwarden_snapshot_age_seconds") < 0.5 and agent.metrics()))
            assert metrics.value("pidwarden_pods") == 0
            assert metrics.value("pidwarden_node_tasks") == 0
            if metrics.value("pidwarden_bpf_counting") == 1:
                assert metrics.value("pidwarden_node_processes_created_total") == 0
            assert "was made again" in agent.log()
            agent.stop()


def stale_never_raises():
    """Level and limit in force hold on stale counts until they expire, and then step down."""
    with e2e.Node(600) as node, e2e.Kubelet(node) as kubelet:
        with e2e.Agent("--interval", "100ms", "--webhook-ttl", "2s", *kubelet.options(),
                       node=node) as agent:
            children = [node.hold(node.pod("b%d" % i).container("build").path, 104)
                        for i in range(5)]
            e2e.wait_for("throttle", 5, lambda: agent.metrics().value(
                "pidwarden_throttle_level") >= 2)
            level = agent.metrics().value("pidwarden_throttle_level")
            for child in children:
                child.kill()
                child.wait()
            e2e.kill_all(node.path)
            e2e.remove_cgroup(node.path)
            stale = e2e.wait_for("stale", 3, lambda: "grow old" in agent.log())
            seen = []
            end = time.monotonic() + 12
            while time.monotonic() < end and (not seen or seen[-1] > 0):
                seen.append(agent.metrics().value("pidwarden_throttle_level"))
                time.sleep(0.05)
            assert stale and seen[0] <= level and seen == sorted(seen, reverse=True), seen
            assert seen[-1] == 0, "the level never ends: %s" % seen[-1]
            agent.stop()


e2e.run([nested, same_uid_again, limits_change, node_goes, stale_never_raises])
