#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The agent as a process: three threads, no child, no file left open, memory that stays, a loop that
never stalls, an end that is quick."""

import os
import signal
import subprocess
import threading
import time

import e2e

PODS = 200


class Watcher(threading.Thread):
    """Samples threads and children. A child that was there and gone is seen by the parent's own
    counts: faults of reaped children are never 0."""

    def __init__(self, tgid):
        super().__init__(daemon=True)
        self.tgid, self.ended = tgid, threading.Event()
        self.threads, self.children, self.samples = set(), set(), 0

    def run(self):
        while not self.ended.is_set():
            try:
                tasks = os.listdir("/proc/%d/task" % self.tgid)
                self.threads.add(frozenset(tasks))
                for tid in tasks:
                    path = "/proc/%d/task/%s/children" % (self.tgid, tid)
                    if os.path.exists(path):
                        self.children.update(e2e.read(path).split())
            except OSError:
                return
            self.samples += 1
            time.sleep(0.005)

    def check(self):
        self.ended.set()
        self.join()
        assert self.samples > 50, self.samples
        assert len(self.threads) == 1, "threads come and go: %s" % self.threads
        (tids,) = self.threads
        assert len(tids) == 3, tids
        assert not self.children, self.children
        fields = e2e.read("/proc/%d/stat" % self.tgid).rsplit(")", 1)[1].split()
        # cminflt: page faults of children that it has waited for (proc(5), field 11)
        assert fields[8] == "0", "it has had a child"


def fds(agent):
    return len(os.listdir("/proc/%d/fd" % agent.process.pid))


def pods_come_and_go():
    """200 pods made and removed over more than 200 ticks, scraped all the while."""
    with e2e.Node() as node, e2e.Kubelet(node) as kubelet:
        # Sanitizers keep freed memory back and make a thread and a child of their own at the end.
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node, leaks=False,
                       env={"ASAN_OPTIONS": "detect_leaks=0:quarantine_size_mb=1"}) as agent:
            e2e.wait_for("kubelet", 5, lambda: agent.tick().value("pidwarden_kubelet_up") == 1)
            watcher = Watcher(agent.process.pid)
            watcher.start()
            agent.ticks(3)
            before_fds = fds(agent)
            first = agent.metrics().value("pidwarden_snapshots_total")
            kept, rss = [], []
            loop = e2e.LoopWatch(agent)
            made = 0
            with e2e.Probe(agent) as probe:
                while True:
                    metrics = agent.metrics()
                    loop.sample(metrics)
                    ticks = metrics.value("pidwarden_snapshots_total") - first
                    if ticks >= 205 and made >= PODS:
                        break
                    # 1 pod a tick; each lives for about ten, one in four with a process.
                    while made < PODS and made < ticks:
                        pod = node.pod("churn-%d" % made)
                        container = pod.container("build")
                        kept.append((pod, node.hold(container.path, 2) if made % 4 == 0 else None))
                        made += 1
                    while len(kept) > 10:
                        remove(kept.pop(0))
                    if ticks > 100:
                        rss.append(agent.status_kb("VmRSS"))
                    time.sleep(0.03)
                for old in kept:
                    remove(old)
                told = probe.check()
            agent.ticks(3)
            after = e2e.wait_for("files are closed", 5, lambda: fds(agent) <= before_fds and
                                 fds(agent))
            watcher.check()
            assert after <= before_fds, (before_fds, after)
            metrics = agent.metrics()
            assert metrics.value("process_threads") == 3
            assert metrics.value("pidwarden_pods") == 0
            stall = loop.check()
            if not e2e.setting.sanitized:
                assert max(rss) - rss[0] < 2048, (rss[0], max(rss))
                assert agent.status_kb("VmHWM") < 32 * 1024
            took = agent.stop()
            return "%d ticks, %s; %s; ended in %.0f ms" % (ticks, told, stall, took * 1e3)


def remove(row):
    pod, child = row
    if child:
        e2e.let_go(child)
    pod.remove()


def many_at_once():
    """200 pods appear in one tick and go in another."""
    with e2e.Node() as node, e2e.Kubelet(node) as kubelet:
        with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node, leaks=False) as agent:
            e2e.wait_for("kubelet", 5, lambda: agent.tick().value("pidwarden_kubelet_up") == 1)
            before = fds(agent)
            loop = e2e.LoopWatch(agent)
            with e2e.Probe(agent) as probe:
                for _ in range(2):
                    for i in range(PODS):
                        node.pod("at-once-%d" % i).container("build")
                    for metrics in agent.ticks(3):
                        loop.sample(metrics)
                    assert metrics.value("pidwarden_pods") == PODS
                    for pod in list(node.pods):
                        pod.remove()
                    for metrics in agent.ticks(3):
                        loop.sample(metrics)
                    assert metrics.value("pidwarden_pods") == 0
                told = probe.check()
            assert fds(agent) <= before, (before, fds(agent))
            return "%s; %s" % (loop.check(), told)


def ends():
    """SIGTERM and SIGINT: 0 within 2 s, also right after the start, also under load."""
    with e2e.Node() as node:
        for sign in (signal.SIGTERM, signal.SIGINT):
            with e2e.Agent("--interval", "100ms", node=node) as agent:
                start = time.monotonic()
                agent.process.send_signal(sign)
                assert agent.process.wait(10) == 0, agent.log()
                assert time.monotonic() - start < (7 if e2e.setting.sanitized else 2)
        with e2e.Agent("--interval", "100ms", node=node) as agent:
            pod = node.pod()
            storm = node.run(pod.container("c").path, e2e.setting.storm, "endless", "2000",
                             stdout=subprocess.PIPE)
            agent.ticks(3)
            agent.stop()
            e2e.made(storm)
        # SIGHUP and a closed scrape end nothing.
        with e2e.Agent("--interval", "100ms", node=node) as agent:
            agent.process.send_signal(signal.SIGHUP)
            agent.ticks(2)
            agent.stop()


def bpf_leaves_nothing():
    """After the agent's end no program of its is left in the kernel, also after kill -9."""
    with e2e.Node() as node:
        with e2e.Agent("--interval", "100ms", node=node) as agent:
            links = [os.readlink("/proc/%d/fd/%s" % (agent.process.pid, fd))
                     for fd in os.listdir("/proc/%d/fd" % agent.process.pid)]
            if not any("bpf" in link for link in links):
                raise e2e.Skip("no BPF here")
            pinned = "/sys/fs/bpf"
            before = set(os.listdir(pinned)) if os.path.isdir(pinned) else set()
            agent.process.kill()
            agent.process.wait()
            after = set(os.listdir(pinned)) if os.path.isdir(pinned) else set()
            assert after == before, after - before


e2e.run([pods_come_and_go, many_at_once, ends, bpf_leaves_nothing])
