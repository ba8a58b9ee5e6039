#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A kubelet that fails in every way there is: names stay, it is said since when, /metrics answers
within 100 ms at every moment, memory stays below 32 MB, and a kubelet that recovers is heard."""

import contextlib
import datetime
import json
import socket
import subprocess
import time

import e2e

MB = 1 << 20
CHUNK = 1 << 18
RSS_MAX_KB = 32 * 1024
HUGE = 50 * MB


def plain(status, text=b"nothing for you\n"):
    return lambda handler: e2e.answer(handler, status, text, "text/plain")


def hang(handler):
    time.sleep(30)


def silent_body(handler):
    """The head, and then nothing."""
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    time.sleep(30)


def closes(handler):
    body = handler.server.outer.body()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body[:len(body) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)


def truncated(handler):
    body = handler.server.outer.body()
    e2e.answer(handler, 200, body[:-2])


def empty(handler):
    e2e.answer(handler, 200, b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":[]}')


def streamed(*parts, size=HUGE):
    """parts: begin, what is repeated until there are `size` bytes, end; none of it is held."""
    begin, middle, end = parts

    def behave(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(begin)
        block = middle * max(1, CHUNK // len(middle))
        sent = 0
        while sent < size:
            handler.wfile.write(block)
            sent += len(block)
        handler.wfile.write(end)
    return behave


HEAD = b'{"kind":"PodList","apiVersion":"v1","metadata":{},"items":['
POD = (b'{"metadata":{"name":"p","namespace":"n","uid":"u"},"spec":{"containers":[]},'
       b'"status":{"phase":"Running"}}')

FAULTS = {
    "refused": None,
    "hangs": hang,
    "head and no body": silent_body,
    "closes half-way": closes,
    "401": plain(401, b"Unauthorized"),
    "403": plain(403, b"Forbidden (user=x, verb=get, resource=nodes, subresource=proxy)"),
    "500": plain(500, b"boom\n\x1b[31mred\x00\xff"),
    "no items": empty,
    "truncated": truncated,
    "not JSON": plain(200, b"<html>hello</html>"),
    "another list": lambda handler: e2e.answer(handler, 200, b'{"kind":"NodeList","items":[]}'),
    "nested 200,000 deep": lambda handler: e2e.answer(
        handler, 200, HEAD + b"[" * 200000 + b"]" * 200000 + b"]}"),
    "nested outside the items": lambda handler: e2e.answer(handler, 200, b'{"a":' * 200000),
    "50 MB deep": streamed(HEAD, b'{"a":[', b""),
    "50 MB wide": streamed(HEAD + b"{\"a\":[1", b",1", b"]}]}"),
    "50 MB of wide items": streamed(HEAD + b"{}", b',{"a":[1' + b",1" * 500000 + b"]}", b"]}"),
    "50 MB of one string": streamed(HEAD + b'{"metadata":{"name":"', b"x", b'"}}]}'),
    "50 MB of keys": streamed(HEAD + b"{\"a\":1", b',"\\u0061b":{}', b"}]}"),
    "50 MB of empty items": streamed(HEAD + b"{}", b",{}", b"]}"),
    "50 MB of nothing": streamed(b"{", b" ", b"}"),
    "50 MB of pods that never end": streamed(HEAD + POD, b"," + POD, b""),
    "50 MB before the list": streamed(b'{"kind":"PodList","junk":"', b"\\u0000", b'"}'),
    "beyond the cap": streamed(HEAD + b'{"x":"', b"y", b'"}]}', size=70 * MB),
}


def names(metrics):
    return sorted(labels["pod"] for labels, _ in metrics["pidwarden_pod_tasks"])


def check_fault(name, fault, node, kubelet, agent, good_from):
    """One way to fail: the fault is seen, nothing known is lost, and it is said since when."""
    known = [pod.name for pod in node.pods]
    before = agent.metrics()
    last_good = before.value("pidwarden_kubelet_last_success_timestamp_seconds")
    if fault:
        kubelet.behave = fault
    else:
        kubelet.close()
    # 5 s is what one request may take; all 50 MB are read within it or it is cut.
    seen = e2e.wait_for(name + " is noticed", 15, lambda: next(
        (m for m in [agent.metrics()] if m.value("pidwarden_kubelet_up") == 0), None))
    asked = kubelet.asked
    for metrics in [seen, *agent.ticks(2)]:
        assert names(metrics) == sorted(known), (name, names(metrics))
        assert metrics.value("pidwarden_pods_unidentified") == 0, name
        tasks = {pod.name: pod.current() for pod in node.pods}
        shown = {labels["pod"]: value for labels, value in metrics["pidwarden_pod_tasks"]}
        assert shown == tasks, (name, shown, tasks)
        since = metrics.value("pidwarden_kubelet_last_success_timestamp_seconds")
        # The last good answer may have come just before the fault was switched on.
        assert last_good <= since <= time.time() and since >= good_from - 0.01, (name, since)
    ready, text = agent.get("/readyz")
    assert ready == 200 and "kubelet: unreachable since 20" in text, (name, text)
    state = agent.json("/api/v1/node")["sources"]["kubelet"]
    assert state["up"] is False and state["ever_up"] is True and state["error"], (name, state)
    stamp = datetime.datetime.fromisoformat(state["last_success"].replace("Z", "+00:00"))
    assert abs(stamp.timestamp() - since) < 1.1, (name, state, since)
    assert all(" " <= char <= "~" for char in state["error"]), (name, state["error"])
    assert metrics.value("pidwarden_kubelet_failures_total") > before.value(
        "pidwarden_kubelet_failures_total"), name
    if fault and fault not in (hang, silent_body):
        assert asked > 0, name
    # And back.
    kubelet.behave = None
    if not fault:
        kubelet.open()
    back = time.time()
    e2e.wait_for("recovered from " + name, 15,
                 lambda: agent.metrics().value("pidwarden_kubelet_up") == 1)
    assert "kubelet: up" in agent.get("/readyz")[1]
    return back


@contextlib.contextmanager
def setup(node, *options, tls=None):
    """Three pods with processes, and an agent that knows their names."""
    for i in range(3):
        pod = node.pod("build-web-%d" % i)
        node.hold(pod.container("build").path, 4 + i)
        node.hold(pod.sandbox.path, 1)
    with e2e.Kubelet(node, tls=tls) as kubelet:
        kubelet.server.outer = kubelet
        reopen = kubelet.open

        def reopened():
            reopen()
            kubelet.server.outer = kubelet
        kubelet.open = reopened
        with e2e.Agent("--interval", "100ms", *kubelet.options(), *options, node=node) as agent:
            e2e.wait_for("names", 10, lambda: agent.metrics().value("pidwarden_kubelet_up") == 1 and
                         agent.tick().value("pidwarden_pods_unidentified") == 0)
            yield kubelet, agent


def faults(chosen):
    with e2e.Node() as node, setup(node) as (kubelet, agent):
        with e2e.Probe(agent) as probe:
            good_from = 0
            for name in chosen:
                start = time.monotonic()
                good_from = check_fault(name, FAULTS[name], node, kubelet, agent, good_from)
                assert agent.process.poll() is None
                if e2e.os.environ.get("VERBOSE"):
                    print("  %-32s %5.1f s  %6d kB" % (name, time.monotonic() - start,
                                                       agent.status_kb("VmHWM")), flush=True)
            told = probe.check()
        peak = agent.status_kb("VmHWM")
        if not e2e.setting.sanitized:
            assert peak < RSS_MAX_KB, "%d kB resident at the height" % peak
        log = agent.log()
        assert all(char in "\n\t" or char >= " " for char in log) and "\x7f" not in log
        agent.stop()
        return "%s; at most %.1f MB resident" % (told, peak / 1024)


def refuses_and_hangs():
    return faults([name for name in FAULTS if "50 MB" not in name and "cap" not in name])


def hostile_lists():
    return faults([name for name in FAULTS if "50 MB" in name or "cap" in name])


def flood():
    """A good list of 50 MB: more pods than a node has, long names, many containers. What the caps let
    in fits into 32 MB, and the pods that have processes keep their names."""
    def behave(handler):
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.end_headers()
        handler.wfile.write(HEAD)
        sent = i = 0
        while sent < HUGE:
            names = ["c%d-%s" % (j, "x" * 50) for j in range(30)]
            item = json.dumps({
                "metadata": {"name": "n%d-" % i + "y" * 240, "namespace": "z" * 63,
                             "uid": "%08d-0000-0000-0000-000000000000" % i,
                             "labels": {"type": "build-job", "job-name": "w" * 63}},
                "spec": {"containers": [{"name": name, "image": "i"} for name in names]},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": name, "containerID": "containerd://%064x" % (i * 100 + j)}
                    for j, name in enumerate(names)]}}).encode()
            handler.wfile.write((b"," if i else b"") + item)
            sent += len(item)
            i += 1
        handler.wfile.write(b"]}")
    with e2e.Node() as node, setup(node) as (kubelet, agent):
        with e2e.Probe(agent) as probe:
            kubelet.behave = behave
            count = kubelet.asked
            known = sorted(pod.name for pod in node.pods)
            end = time.monotonic() + 40
            # Two of them whole, so that an old table and a new one are there at once.
            while kubelet.asked < count + 3:
                assert time.monotonic() < end, kubelet.asked
                assert names(agent.tick()) == known
            assert names(agent.tick()) == known
            assert agent.metrics().value("pidwarden_kubelet_pods_skipped") > 1000
            told = probe.check()
        peak = agent.status_kb("VmHWM")
        if not e2e.setting.sanitized:
            assert peak < RSS_MAX_KB, "%d kB resident at the height" % peak
        kubelet.behave = None
        e2e.wait_for("the true list", 20, lambda: agent.metrics().value(
            "pidwarden_kubelet_pods_skipped") == 0)
        assert names(agent.tick()) == known
        agent.stop()
        return "%s; at most %.1f MB resident" % (told, peak / 1024)


def changes_meanwhile():
    """While the kubelet is away pods go and come: counts follow, new ones carry their cgroup's name."""
    with e2e.Node() as node, setup(node) as (kubelet, agent):
        kubelet.close()
        e2e.wait_for("down", 10, lambda: agent.metrics().value("pidwarden_kubelet_up") == 0)
        new = node.pod("new-one")
        node.hold(new.container("build").path, 6)
        gone = node.pods[0]
        e2e.kill_all(gone.path)
        gone.remove()
        metrics = agent.ticks(2)[-1]
        assert names(metrics) == sorted(["build-web-1", "build-web-2", "pod" + new.uid])
        assert metrics.value("pidwarden_pod_tasks", pod="pod" + new.uid) == new.current()
        assert metrics.value("pidwarden_pods_unidentified") == 1
        kubelet.open()
        e2e.wait_for("the new name", 20, lambda: "new-one" in names(agent.metrics()))
        assert agent.tick().value("pidwarden_pods_unidentified") == 0


def never_there():
    """No kubelet from the start: ready all the same, cgroups under their own names."""
    with e2e.Node() as node:
        pod = node.pod("unseen")
        node.hold(pod.container("build").path, 3)
        with e2e.Kubelet(node) as kubelet:
            kubelet.close()
            with e2e.Agent("--interval", "100ms", *kubelet.options(), node=node) as agent:
                e2e.wait_for("failure", 10, lambda: agent.metrics().value(
                    "pidwarden_kubelet_failures_total") > 0)
                metrics = agent.tick()
                assert names(metrics) == ["pod" + pod.uid]
                assert metrics.find("pidwarden_kubelet_last_success_timestamp_seconds") is None
                ready, text = agent.get("/readyz")
                assert ready == 200 and "never reached" in text and "own names" in text, text
                state = agent.json("/api/v1/node")["sources"]["kubelet"]
                assert state["ever_up"] is False and state["last_success"] is None, state
                kubelet.open()
                e2e.wait_for("the name", 20, lambda: names(agent.metrics()) == ["unseen"])


def openssl(*argv):
    done = subprocess.run(["openssl", *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def https():
    """TLS with an authority of its own and a bearer token; another authority is not believed."""
    import shutil
    if not shutil.which("openssl"):
        raise e2e.Skip("no openssl to make a throw-away authority with")
    work = e2e.tempfile.mkdtemp(dir=e2e.setting.work)
    for who in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "2", "-subj", "/CN=throw-away " + who, "-keyout",
                "%s/%s.key" % (work, who), "-out", "%s/%s.pem" % (work, who))
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj",
            "/CN=kubelet", "-keyout", work + "/kubelet.key", "-out", work + "/kubelet.csr")
    e2e.write(work + "/san", "subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", work + "/kubelet.csr", "-CA", work + "/ca.pem", "-CAkey",
            work + "/ca.key", "-CAcreateserial", "-days", "2", "-extfile", work + "/san", "-out",
            work + "/kubelet.pem")
    e2e.write(work + "/token", "sesame\n")
    tls = (work + "/kubelet.pem", work + "/kubelet.key")
    with e2e.Node() as node:
        with setup(node, "--kubelet-ca-file", work + "/ca.pem", "--kubelet-token-file",
                   work + "/token", tls=tls) as (kubelet, agent):
            assert kubelet.headers[-1].get("Authorization") == "Bearer sesame"
            assert names(agent.metrics()) == ["build-web-0", "build-web-1", "build-web-2"]
            check_fault("401", FAULTS["401"], node, kubelet, agent, 0)
            # A token that was renewed is used without a restart.
            e2e.write(work + "/token", "open-now\n")
            e2e.wait_for("the new token", 10, lambda: kubelet.headers[-1].get(
                "Authorization") == "Bearer open-now")
            # Taken away: the kubelet is not asked without it, and it is named.
            e2e.os.unlink(work + "/token")
            e2e.wait_for("down", 10, lambda: agent.metrics().value("pidwarden_kubelet_up") == 0)
            assert work + "/token" in agent.json("/api/v1/node")["sources"]["kubelet"]["error"]
            assert all("Authorization" in headers for headers in kubelet.headers)
            e2e.write(work + "/token", "again")
            e2e.wait_for("up", 15, lambda: agent.metrics().value("pidwarden_kubelet_up") == 1)
            with e2e.Agent(*kubelet.options(), "--kubelet-ca-file", work + "/other.pem",
                           node=node) as doubter:
                asked = kubelet.asked
                e2e.wait_for("failure", 10, lambda: doubter.metrics().value(
                    "pidwarden_kubelet_failures_total") > 0)
                error = doubter.json("/api/v1/node")["sources"]["kubelet"]["error"]
                assert "certificate" in error.lower(), error
                assert doubter.tick().value("pidwarden_kubelet_up") == 0
                assert kubelet.headers[asked:] == [h for h in kubelet.headers[asked:]
                                                   if "Authorization" in h], "it asked all the same"


e2e.run([refuses_and_hangs, hostile_lists, flood, changes_meanwhile, never_there, https])
