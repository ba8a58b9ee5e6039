#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The hint to the job generator: the contract, its numbers over restarts and crashes, withdrawal, and
a generator that does not answer."""

import contextlib
import http.server
import json
import threading
import time

import e2e

FIELDS = {"scope", "node", "sequence", "max_concurrent", "reason", "expires_in_s"}


class Generator:
    """Records every POST with its time; answers as told."""

    def __init__(self):
        self.posts, self.behave, self.port, self.problems = [], None, 0, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.record(self, body)
                with contextlib.suppress(OSError):
                    (outer.behave or outer.good)(self)

            def log_message(self, *_):
                pass

        self.handler = Handler
        self.open()

    def open(self):
        self.server = e2e.Server(("127.0.0.1", self.port), self.handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def record(self, handler, body):
        try:
            hint = json.loads(body)
            assert handler.path == "/throttle", handler.path
            assert handler.headers["Content-Type"] == "application/json"
            assert set(hint) == FIELDS, hint
            assert hint["scope"] == "node" and hint["node"] == "node-1", hint
            assert isinstance(hint["sequence"], int) and hint["sequence"] > 0, hint
            limit = hint["max_concurrent"]
            assert limit is None or (isinstance(limit, int) and limit >= 0), hint
            assert isinstance(hint["reason"], str) and hint["reason"], hint
            assert isinstance(hint["expires_in_s"], int) and hint["expires_in_s"] > 0, hint
            if self.posts:
                assert hint["sequence"] > self.posts[-1][1]["sequence"], (self.posts[-1], hint)
            self.posts.append((time.monotonic(), hint))
        except (AssertionError, ValueError, KeyError) as problem:
            self.problems.append(repr(problem))

    def good(self, handler):
        e2e.answer(handler, 200, b'{"accepted": true}')

    def last(self):
        assert not self.problems, self.problems[0]
        return self.posts[-1][1] if self.posts else None

    def limited(self):
        last = self.last()
        return last is not None and last["max_concurrent"] is not None


class Setup:
    def __init__(self, node, kubelet, generator):
        self.node, self.kubelet, self.generator = node, kubelet, generator
        self.state = e2e.tempfile.mkdtemp(dir=e2e.setting.work)
        self.held = []

    def agent(self, *options, mode="throttle"):
        return e2e.Agent(
            "--mode", mode, "--webhook-url", "http://127.0.0.1:%d/throttle" % self.generator.port,
            "--interval", "100ms", "--min-dwell", "300ms", "--node-name", "node-1", "--state-dir",
            self.state, "--webhook-ttl", "2s", *self.kubelet.options(), *options, node=self.node)

    def press(self, n=5):
        """Builds that fill the node: 5 of 105 tasks, of 600."""
        for i in range(n):
            pod = self.node.pod("build-%d" % len(self.node.pods))
            self.held.append((pod, self.node.hold(pod.container("build").path, 104)))

    def relax(self):
        for pod, child in self.held:
            e2e.let_go(child)
            pod.remove()
        self.held = []


@contextlib.contextmanager
def setup():
    with e2e.Node(600) as node, e2e.Kubelet(node) as kubelet, Generator() as generator:
        yield Setup(node, kubelet, generator)
        generator.last()


def actions(agent, result):
    return agent.metrics().value("pidwarden_lever_actions_total", lever="webhook", result=result)


def in_force_and_withdrawn():
    with setup() as s:
        with s.agent() as agent:
            agent.ticks(3)
            assert s.generator.posts == [], "nothing is pressed, nothing is to be said"
            assert agent.metrics().value("pidwarden_throttle_level") == 0
            s.press()
            e2e.wait_for("a limit", 5, s.generator.limited)
            e2e.wait_for("applied", 2, lambda: actions(agent, "applied") == 1)
            metrics = agent.tick()
            assert metrics.value("pidwarden_throttle_level") >= 2
            assert metrics.value("pidwarden_throttle_active") == 1
            # Renewed before it expires, as long as it is needed.
            first = len(s.generator.posts)
            time.sleep(2.5)
            assert s.generator.limited() and len(s.generator.posts) >= first + 2
            assert actions(agent, "expired") == 0
            shown = agent.metrics().value("pidwarden_throttle_max_concurrent_builds")
            assert shown is not None
            lever = agent.json("/api/v1/node")["levers"][0]
            assert lever["name"] == "webhook" and 0 < lever["expires_in_seconds"] <= 2, lever
            # At most one request in 100 ms, however often the number changes.
            times = [at for at, _ in s.generator.posts]
            assert all(b - a > 0.09 for a, b in zip(times, times[1:])), times
            s.relax()
            e2e.wait_for("withdrawn", 8, lambda: s.generator.last()["max_concurrent"] is None)
            e2e.wait_for("withdrawn, counted", 2, lambda: actions(agent, "withdrawn") == 1)
            count = len(s.generator.posts)
            time.sleep(1)
            assert len(s.generator.posts) == count, "withdrawn once, then silence"
            agent.stop()


def observe_says_only():
    with setup() as s:
        with s.agent(mode="observe") as agent:
            s.press()
            e2e.wait_for("it would", 5, lambda: "would ask for at most" in agent.log())
            metrics = agent.ticks(3)[-1]
            assert metrics.value("pidwarden_lever_actions_total", lever="webhook",
                                 result="dry_run") >= 1
            assert metrics.value("pidwarden_throttle_level") >= 2
            assert actions(agent, "applied") == 0
            assert metrics["pidwarden_build_info"][0][0]["mode"] == "observe"
            s.relax()
            e2e.wait_for("it would withdraw", 8, lambda: "would withdraw" in agent.log())
            agent.stop()
        assert s.generator.posts == [], "observe mode spoke to the generator"
        assert e2e.os.listdir(s.state) == [], "observe mode wrote"


def ends_and_restarts():
    """SIGTERM takes it back within a second; numbers grow over restarts and crashes."""
    with setup() as s:
        s.press()
        for _ in range(2):
            with s.agent() as agent:
                e2e.wait_for("a limit", 8, s.generator.limited)
                e2e.wait_for("applied", 2, lambda: actions(agent, "applied") >= 1)
                start = time.monotonic()
                agent.process.terminate()
                e2e.wait_for("withdrawn", 1, lambda: s.generator.last()["max_concurrent"] is None)
                assert time.monotonic() - start < 1
                assert agent.process.wait(10) == 0
            assert e2e.os.listdir(s.state) == [], "the journal is still there"
        # kill -9, and the next one takes over under pressure: the limit stays.
        with s.agent() as agent:
            e2e.wait_for("a limit", 8, s.generator.limited)
            e2e.wait_for("applied", 2, lambda: actions(agent, "applied") >= 1)
            agent.process.kill()
            agent.process.wait()
        assert e2e.os.listdir(s.state) == ["webhook.json"]
        count = len(s.generator.posts)
        with s.agent() as agent:
            e2e.wait_for("renewed", 3, lambda: len(s.generator.posts) > count)
            assert "left a limit of" in agent.log(), agent.log()
            agent.process.kill()
            agent.process.wait()
        # kill -9, and nothing is pressed when the next one comes: withdrawn at once.
        s.relax()
        count = len(s.generator.posts)
        with s.agent("--webhook-ttl", "60s") as agent:
            e2e.wait_for("the old limit is withdrawn", 2, lambda: len(s.generator.posts) > count)
            assert s.generator.last()["max_concurrent"] is None, s.generator.last()
            e2e.wait_for("the journal goes", 2, lambda: e2e.os.listdir(s.state) == [])
            time.sleep(0.5)
            assert len(s.generator.posts) == count + 1
            agent.stop()
        # A journal that was cut or scribbled in stops nobody.
        for text in ("", "{", '{"sequence":1e99,"max_concurrent":-1}', "\x00" * 100, "[" * 3000):
            e2e.write(s.state + "/webhook.json", text)
            with s.agent() as agent:
                agent.ticks(2)
                agent.stop()


def bad_generators():
    """It refuses, hangs, answers 500: counted, backed off, nothing else waits; and it recovers."""
    with setup() as s:
        with s.agent("--webhook-ttl", "60s") as agent, e2e.Probe(agent) as probe:
            for name, behave, seconds in (
                    ("500", lambda h: e2e.answer(h, 500, b"no", "text/plain"), 3.0),
                    ("not accepted", lambda h: e2e.answer(
                        h, 200, b'{"accepted": false, "reason": "no \x1b[31m"}'), 1.0),
                    ("refused", None, 2.5), ("hangs", lambda h: time.sleep(20), 6.5)):
                s.generator.behave = behave
                if not behave:
                    s.generator.close()
                failed, count = actions(agent, "failed"), len(s.generator.posts)
                s.press()
                e2e.wait_for(name + " is counted", 8, lambda: actions(agent, "failed") > failed)
                start = time.monotonic()
                ticks = agent.metrics().value("pidwarden_snapshots_total")
                time.sleep(seconds)
                # Backed off: 0.5 s, 1 s, 2 s … between attempts.
                tries = len(s.generator.posts) - count
                assert tries <= 2 + seconds, (name, tries)
                done = agent.metrics().value("pidwarden_snapshots_total") - ticks
                assert done > 5 * (time.monotonic() - start), "ticks stall: " + name
                lever = agent.json("/api/v1/node")["levers"][0]
                assert lever["last_error"], lever
                s.generator.behave = None
                if not behave:
                    s.generator.open()
                applied = actions(agent, "applied")
                e2e.wait_for(name + ": recovered", 12, lambda: actions(agent, "applied") > applied)
                assert agent.json("/api/v1/node")["levers"][0]["last_error"] is None
                s.relax()
                e2e.wait_for("withdrawn", 12,
                             lambda: s.generator.last()["max_concurrent"] is None)
                e2e.wait_for("level 0", 5, lambda: agent.metrics().value(
                    "pidwarden_throttle_level") == 0)
            told = probe.check()
            log = agent.log()
            assert log.count("trying again") == 4, "each outage is said once:\n" + log
            assert "\x1b" not in log and "\\x1b" in log, "the generator's reason in the log"
            agent.stop()
            return told


def expires():
    """A limit that cannot be renewed expires here as it does there; the end is not held up."""
    with setup() as s:
        with s.agent() as agent:
            s.press()
            e2e.wait_for("a limit", 5, lambda: actions(agent, "applied") >= 1)
            s.generator.close()
            s.relax()
            e2e.wait_for("expired", 6, lambda: actions(agent, "expired") == 1)
            e2e.wait_for("the journal goes", 2, lambda: e2e.os.listdir(s.state) == [])
            assert agent.json("/api/v1/node")["levers"][0]["expires_in_seconds"] is None
            agent.stop()
        # A generator that hangs when the agent is to end: 3 s of grace, then it is left to expire.
        s.generator.open()
        with s.agent() as agent:
            s.press()
            e2e.wait_for("a limit", 5, lambda: actions(agent, "applied") >= 1)
            s.generator.behave = lambda handler: time.sleep(20)
            agent.stop(4)
            assert "expires by itself" in agent.log(), agent.log()


def blameless():
    """Something else fills the node: builds are left alone, and it is said why."""
    with setup() as s:
        with s.agent() as agent:
            service = s.node.path + "/system/leaky"
            e2e.make_cgroup(service)
            s.node.hold(service, 560)
            pod = s.node.pod("build-0")
            s.node.hold(pod.container("build").path, 5)
            e2e.wait_for("level", 5, lambda: agent.metrics().value("pidwarden_throttle_level") >= 2)
            agent.ticks(5)
            assert s.generator.posts == [], s.generator.posts
            assert "left alone" in agent.json("/api/v1/node")["reason"]
            agent.stop()


def no_pid_for_itself():
    """Every PID of the agent's own cgroup is taken by its three threads: it counts, serves, asks the
    kubelet and the generator all the same, writes its record, and never even tries to fork."""
    with setup() as s:
        own = "%s/pidwarden-own-%s" % (e2e.pids_mount()[0], e2e.hex_id()[:12])
        e2e.make_cgroup(own)
        try:
            with s.agent() as agent:
                e2e.write(own + "/cgroup.procs", str(agent.process.pid))
                e2e.write(own + "/pids.max", "3")
                assert e2e.read(own + "/pids.current").strip() == "3"
                agent.ticks(3)
                s.press()
                e2e.wait_for("a limit", 5, s.generator.limited)
                e2e.wait_for("the record", 2, lambda: e2e.os.listdir(s.state) != [])
                assert agent.metrics().value("pidwarden_kubelet_up") == 1
                for path in ("/", "/metrics", "/healthz", "/readyz", "/api/v1/node", "/api/v1/pods"):
                    assert agent.get(path)[0] == 200, path
                s.relax()
                e2e.wait_for("withdrawn", 8, lambda: s.generator.last()["max_concurrent"] is None)
                events = dict(line.split() for line in
                              e2e.read(own + "/pids.events").strip().split("\n"))
                assert events["max"] == "0", events
                # A sanitizer looks for leaks by a process of its own at the end.
                e2e.write(own + "/pids.max", "max")
                agent.stop()
        finally:
            e2e.remove_cgroup(own)


e2e.run([in_force_and_withdrawn, observe_says_only, ends_and_restarts, bad_generators, expires,
         blameless, no_pid_for_itself])
