#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Names that are chosen to break the text they stand in: metrics, JSON, page, log, hints."""

import json
import os
import shutil
import subprocess
import uuid

import e2e

NASTY = [
    b'quote"inside', b"back\\slash", b"new\nline", b"esc\x1b[31m\x1b]0;title\x07", b"tab\tcr\r",
    b"non-utf8 \xff\xfe\xc3\x28 \xed\xa0\x80", b"<script>alert(1)</script>", b"nul \\u0000 end",
    b'"} 1\npidwarden_evil{x="', b"\xe2\x80\xae reversed \xe2\x80\x8b", b"\xf0\x9f\x90\xa7" * 60,
    b"", b"x" * 5000, b"{}", b"\\", b'\\"', b"\x7f\x01\x02", b"a,b=c{d}", b"\\n", b"%s%n%x",
]


def string(raw):
    """@raw as a JSON string that keeps every byte as it is, but for what ends the string.
    Control bytes are not allowed in JSON, so they are escaped; half the parsers take them raw."""
    out = b'"'
    escape = False
    for i, byte in enumerate(raw):
        char = bytes([byte])
        if raw[i:i + 6] == b"\\u0000":
            escape = True
        if char == b"\\" and escape:
            out += char  # \u0000 goes through as an escape of its own
            escape = False
        elif char in (b'"', b"\\"):
            out += b"\\" + char
        elif byte < 32:
            out += b"\\u%04x" % byte
        else:
            out += char
    return out + b'"'


def pods_body(node, raw_names):
    items = []
    for i, (pod, raw) in enumerate(zip(node.pods, raw_names)):
        name = string(raw)
        items.append(
            b'{"metadata":{"name":%s,"namespace":%s,"uid":"%s","labels":{"type":"build-job",'
            b'"job-name":%s,%s:%s},"annotations":{"build.tool":%s},"ownerReferences":[{"kind":"Job",'
            b'"name":%s,"uid":"u","controller":true}]},"spec":{"containers":[{"name":%s,"image":%s}]},'
            b'"status":{"phase":%s,"containerStatuses":[{"name":%s,"containerID":"containerd://%s"}]}}'
            % (name, name, pod.uid.encode(), name, string(raw + b"l"), name, name, name, name, name,
               name if i % 2 else b'"Running"', name, pod.containers[1].id.encode()))
    return (b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[' + b",".join(items) +
            b"]}")


def promtool():
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    found = shutil.which("promtool")
    for directory, _, files in os.walk(root + "/build"):
        if not found and "promtool" in files and os.access(directory + "/promtool", os.X_OK):
            found = directory + "/promtool"
    return found


def clean(text, what):
    bad = [char for char in text if (char < " " and char != "\n") or char == "\x7f"]
    assert not bad, (what, bad[:5])


def check_surfaces(agent, node):
    raw = agent.get_bytes("/metrics")[1]
    text = raw.decode("utf-8")  # must be UTF-8 whatever the names were
    metrics = e2e.Metrics(text)
    assert "pidwarden_evil" not in metrics
    shown = sum(value for _, value in metrics["pidwarden_pod_tasks"])
    assert shown == sum(pod.current() for pod in node.pods), shown
    series = [line.rsplit(" ", 1)[0] for line in text.split("\n") if line and line[0] != "#"]
    assert len(series) == len(set(series)), "a series is there twice"
    for path in ("/api/v1/node", "/api/v1/pods"):
        body = agent.get_bytes(path)[1]
        clean(body.decode("utf-8"), path)
        json.loads(body)
    pods = json.loads(body)
    assert len(pods["pods"]) == len(node.pods)
    assert sorted(pod["uid"] for pod in pods["pods"]) == sorted(pod.uid for pod in node.pods)
    assert sum(pod["tasks"] for pod in pods["pods"]) == sum(pod.current() for pod in node.pods)
    clean(agent.get("/readyz")[1], "/readyz")
    assert b"<script>alert" not in agent.get_bytes("/")[1]
    return metrics, pods, raw


def watch(node, body, *options):
    kubelet = e2e.Kubelet(node)
    kubelet.behave = lambda handler: e2e.answer(handler, 200, body())
    agent = e2e.Agent("--interval", "100ms", "--log-level", "debug", *kubelet.options(), *options,
                      node=node)
    return kubelet, agent


def names():
    """One pod for each nasty name; its namespace, labels, containers, owner carry it, too."""
    with e2e.Node() as node:
        for i, _ in enumerate(NASTY):
            pod = node.pod()
            node.hold(pod.container("c").path, 1 + i % 3)
        kubelet, agent = watch(node, lambda: pods_body(node, NASTY), "--log-format", "json")
        with kubelet, agent:
            e2e.wait_for("kubelet is up", 10,
                         lambda: agent.tick().value("pidwarden_kubelet_up") == 1)
            metrics, pods, raw = check_surfaces(agent, node)
            by_uid = {pod["uid"]: pod for pod in pods["pods"]}
            # The plain ones come through as they are.
            for pod, name in zip(node.pods, NASTY):
                if name in (b'quote"inside', b"back\\slash", b"a,b=c{d}", b"%s%n%x",
                            b"<script>alert(1)</script>"):
                    assert by_uid[pod.uid]["name"] == name.decode(), by_uid[pod.uid]
                    assert metrics.find("pidwarden_pod_tasks",
                                        pod=name.decode()) == pod.current(), name
            # A build by its labels, so its name is in the reasons and hints.
            assert metrics.value("pidwarden_builds") > 10
            clean(agent.log(), "log")
            for line in agent.log().strip().split("\n"):
                json.loads(line)
            tool = promtool()
            if tool:
                done = subprocess.run([tool, "check", "metrics"], input=raw, capture_output=True)
                # It also has opinions on style, which are not errors of the text; exit 3 says so.
                assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
            elif os.environ.get("CI") == "true":
                raise AssertionError("no promtool: tools/install-packages test")
            agent.stop()
            return "promtool is content" if tool else "without promtool, which is not installed"


def raw_control_bytes():
    """Control bytes unescaped within JSON strings, which JSON forbids: refused or passed over, never
    passed on."""
    with e2e.Node() as node:
        pod = node.pod()
        node.hold(pod.container("c").path, 2)
        good = pods_body(node, [b"MARK"])
        for raw in (b"a\x1b[2Jb", b"a\nb", b"a\x00b", b"a\x7fb"):
            body = good.replace(b"MARK", raw)
            kubelet, agent = watch(node, lambda: body)
            with kubelet, agent:
                e2e.wait_for("asked", 10, lambda: agent.tick().value(
                    "pidwarden_kubelet_requests_total") >= 1 and kubelet.asked >= 1)
                agent.ticks(2)
                check_surfaces(agent, node)
                clean(agent.log(), "log")


def duplicates():
    """Pods of one name, one uid twice, one container id in two pods: series stay unique, tasks are
    counted once."""
    with e2e.Node() as node:
        pods = [node.pod("same") for _ in range(3)]
        for i, pod in enumerate(pods):
            node.hold(pod.container("c").path, 2 + i)
            node.hold(pod.container("c").path, 1)  # two containers of one name as well
        other = node.pod("other")
        node.hold(other.container("c").path, 4)
        copies = []

        def body():
            items = [pod.item() for pod in node.pods]
            twice = dict(items[0], metadata=dict(items[0]["metadata"], name="impostor"))
            thief = json.loads(json.dumps(items[3]))
            thief["metadata"]["uid"] = str(uuid.uuid4())
            thief["metadata"]["name"] = "thief"
            copies[:] = [twice, thief]
            return json.dumps({"kind": "PodList", "items": items + copies}).encode()
        kubelet, agent = watch(node, body)
        with kubelet, agent:
            e2e.wait_for("kubelet is up", 10,
                         lambda: agent.tick().value("pidwarden_kubelet_up") == 1)
            metrics, _, raw = check_surfaces(agent, node)
            tool = promtool()
            if tool:
                done = subprocess.run([tool, "check", "metrics"], input=raw, capture_output=True)
                assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
            # Equal labels are one series with the sum; rows in the JSON stay apart.
            assert sum(value for labels, value in metrics["pidwarden_pod_tasks"]
                       if labels["pod"] in ("same", "impostor")) == sum(
                           pod.current() for pod in pods)
            assert metrics.find("pidwarden_pod_tasks", pod="other") == other.current()
            assert metrics.find("pidwarden_pod_tasks", pod="thief") is None


def hostile_cgroups():
    """Directories that anybody with a cgroup may name."""
    with e2e.Node() as node:
        pod = node.pod("honest")
        container = pod.container("c")
        node.hold(container.path, 2)
        for name in ("quote\"x", "back\\slash", "esc\x1b[31m", "ünï", "<script>alert(1)</script>"):
            for parent in (node.path, container.path, node.path + "/kubepods"):
                e2e.make_cgroup(parent + "/" + name)
        bad = os.path.join(os.fsencode(node.path), b"non-utf8-\xff\xfe")
        os.mkdir(bad)
        try:
            # A pod that calls a directory of its own "kubepods/pod…" makes no pod of it.
            fake = container.path + "/kubepods/burstable/pod" + str(uuid.uuid4())
            e2e.make_cgroup(fake)
            kubelet, agent = watch(node, lambda: json.dumps(
                {"kind": "PodList", "items": [pod.item()]}).encode())
            with kubelet, agent:
                e2e.wait_for("kubelet is up", 10,
                             lambda: agent.tick().value("pidwarden_kubelet_up") == 1)
                metrics, _, raw = check_surfaces(agent, node)
                assert metrics.value("pidwarden_pods") == 1
                clean(agent.log(), "log")
                tool = promtool()
                if tool:
                    done = subprocess.run([tool, "check", "metrics"], input=raw,
                                          capture_output=True)
                    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
        finally:
            os.rmdir(bad)


def process_name():
    """The program that crosses a trip wire is named in the log; it chose its name itself."""
    evil = os.path.join(os.fsencode(e2e.setting.work), b"\x1b[2J\n\xff%s%n\x07")
    shutil.copy(e2e.setting.storm, evil)
    with e2e.Node(600) as node:
        for form in ("text", "json"):
            with e2e.Agent("--interval", "2s", "--log-format", form, node=node) as agent:
                if agent.metrics().value("pidwarden_bpf_counting") != 1:
                    raise e2e.Skip("no trip wire without BPF")
                plain, e2e.setting.storm = e2e.setting.storm, evil
                try:
                    child = node.hold(node.pod().container("c").path, 460)
                finally:
                    e2e.setting.storm = plain
                e2e.wait_for("the trip", 5, lambda: "trip wire" in agent.log())
                assert "[2J" in agent.log()
                clean(agent.log(), "log")
                if form == "json":
                    for line in agent.log().strip().split("\n"):
                        json.loads(line)
                agent.stop()
            e2e.let_go(child)


e2e.run([names, raw_control_bytes, duplicates, hostile_cgroups, process_name])
