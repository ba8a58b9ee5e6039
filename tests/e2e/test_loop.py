#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole loop in small: builds fill a node of 600 PIDs, once without the agent and once with it. The
comparison with the best fixed concurrency is tools/quickstart --sweep."""

import http.client
import json
import os
import signal
import subprocess
import time
import uuid

import e2e

NODE_PIDS = 600
DURATION = 15
WANTED = 14  # about twice what fits: a build holds 60 to 85 PIDs at its height


class Run:
    def __init__(self, wanted=WANTED):
        mount, _ = e2e.pids_mount()
        self.dir = e2e.tempfile.mkdtemp(dir=e2e.setting.work)
        # buildgen makes the node below this name only, and takes it away at its end.
        self.path = "%s/pidwarden-demo-e2e-%s" % (mount, uuid.uuid4().hex[:12])
        self.env = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")
        self.log = open(self.dir + "/log", "w")
        self.generator = subprocess.Popen(
            [e2e.setting.buildgen, "--local", "--paused", "--listen", "127.0.0.1:0", "--ready-file",
             self.dir + "/ready", "--node-cgroup", self.path, "--node-pids", str(NODE_PIDS),
             "--concurrency", str(wanted), "--time-scale", "0.1", "--duration", "%ds" % DURATION,
             "--seed", "7", "--report", self.dir + "/report", "--log-level", "warn"],
            stdout=self.log, stderr=self.log, env=self.env)
        self.canary = None

    def __enter__(self):
        e2e.wait_for("generator", 10, lambda: os.path.exists(self.dir + "/ready"))
        ready = dict(line.split("=", 1) for line in e2e.read(self.dir + "/ready").splitlines())
        self.address = ready["address"]
        self.canary = subprocess.Popen(
            [e2e.setting.buildgen, "canary", "--cgroup", self.path + "/system/canary", "--rate",
             "20", "--report", self.dir + "/canary"], stdout=self.log, stderr=self.log, env=self.env)
        return self

    def __exit__(self, *_):
        for child in (self.canary, self.generator):
            if child and child.poll() is None:
                child.send_signal(signal.SIGTERM)
        for child in (self.canary, self.generator):
            try:
                if child:
                    child.wait(15)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self.log.close()

    def start(self):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        connection.request("POST", "/start", headers={"Content-Length": "0"})
        assert connection.getresponse().status == 200
        connection.close()

    def options(self):
        return ["--mode", "throttle", "--node-name", "local", "--kubelet-url",
                "http://" + self.address, "--webhook-url", "http://%s/throttle" % self.address,
                "--kubelet-interval", "1s", "--interval", "100ms", "--min-dwell", "1s"]

    def end(self):
        assert self.generator.wait(DURATION + 60) == 0, e2e.log_tail(self.dir + "/log")
        assert self.canary.wait(20) == 0
        assert not os.path.exists(self.path)
        return json.loads(e2e.read(self.dir + "/report")), json.loads(e2e.read(self.dir + "/canary"))


def without_agent():
    """Nothing holds the generator back: it must fail, or the other case shows nothing."""
    with Run() as run:
        run.start()
        report, canary = run.end()
        failures = canary["fork_failures"] + report["first_attempt_failures"]
        assert failures > 0, (report, canary)
        assert report["highest_pids"] >= NODE_PIDS - 1, report["highest_pids"]
        return "canary %d, builds %d failures, %d finished" % (
            canary["fork_failures"], report["first_attempt_failures"], report["finished"])


def with_agent():
    with Run() as run:
        with e2e.Agent(*run.options(), node=run) as agent:
            run.start()
            highest_level, highest_pids, limited = 0, 0, False
            while run.generator.poll() is None:
                metrics = agent.metrics()
                highest_level = max(highest_level, metrics.value("pidwarden_throttle_level"))
                highest_pids = max(highest_pids,
                                   metrics.find("pidwarden_node_used_pids", limit="node") or 0)
                limited |= metrics.find("pidwarden_throttle_max_concurrent_builds") is not None
                time.sleep(0.1)
            report, canary = run.end()
            assert agent.process.poll() is None
            if not limited:
                print("agent's log:\n" + agent.log()[-2000:])
            assert limited and highest_level >= 2, (limited, highest_level)
            assert canary["fork_failures"] == 0, canary
            assert canary["attempts"] > DURATION * 15, canary
            assert report["fork_failures_in_builds"] == 0, report
            assert report["pod_start_failures"] == 0, report
            assert report["first_attempt_failures"] == 0, report
            assert report["highest_pids"] < NODE_PIDS, report
            # Not by letting nothing run: at least a build of its own for each second.
            assert report["finished"] >= DURATION / 2, report
            agent.stop()
            return "no failure, %d builds finished, at most %d of %d PIDs" % (
                report["finished"], report["highest_pids"], NODE_PIDS)


e2e.run([without_agent, with_agent])
