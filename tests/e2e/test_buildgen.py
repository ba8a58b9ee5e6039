#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""buildgen --local from outside: what it says is compared with the kernel's own files.

usage: test_buildgen.py BUILDGEN [case...]
"""

import collections
import glob
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid

PHASES = ["b:environment", "b:dependencies", "b:compilation", "b:unit-tests", "b:integr-tests",
          "b:packaging", "b:publishing"]
SKIP = 77
# A sanitizer's leak check makes a task of its own, which the kernel counts too.
ENV = dict(os.environ, ASAN_OPTIONS="detect_leaks=0")

work = ""
program = ""  # a copy of our own, so that /proc/*/exe tells our processes from everybody else's


def pids_mount():
    v2 = None
    for line in open("/proc/self/mountinfo"):
        left, right = line.rstrip("\n").split(" - ")
        point, (kind, _, options) = left.split()[4], right.split(" ", 2)
        if kind == "cgroup" and "pids" in options.split(","):
            return point
        if kind == "cgroup2" and not v2:
            if "pids" in open(point + "/cgroup.controllers").read().split():
                v2 = point
    return v2


def read(path):
    with open(path) as file:
        return file.read()


def processes():
    """Our processes, by /proc: independent of any cgroup."""
    found = []
    for exe in glob.glob("/proc/[0-9]*/exe"):
        try:
            if os.readlink(exe) == program:
                found.append(int(exe.split("/")[2]))
        except OSError:
            pass
    return found


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError("not within %s s: %s" % (seconds, what))


class Generator:
    def __init__(self, *options, node=None, token=None):
        self.dir = tempfile.mkdtemp(dir=work)
        self.node = node or "%s/pidwarden-demo-test-%s" % (pids_mount(), uuid.uuid4().hex[:12])
        self.token = token
        ready = self.dir + "/ready"
        self.log = open(self.dir + "/log", "w+")
        self.process = subprocess.Popen(
            [program, "--local", "--listen", "127.0.0.1:0", "--ready-file", ready, "--report",
             self.dir + "/report", "--node-cgroup", self.node, *options],
            stdout=self.log, stderr=self.log, env=ENV)
        wait_for("ready file", 10,
                 lambda: os.path.exists(ready) or self.process.poll() is not None)
        assert self.process.poll() is None, read(self.dir + "/log")
        values = dict(line.split("=", 1) for line in read(ready).splitlines())
        self.address = values["address"]
        assert values["node_cgroup"] == self.node

    def request(self, method, path, body=None, token=None):
        connection = http.client.HTTPConnection(self.address, timeout=5)
        headers = {"Authorization": "Bearer " + (token or self.token)} if token or self.token else {}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def status(self):
        code, text = self.request("GET", "/status")
        assert code == 200, text
        return json.loads(text)

    def throttle(self, code=200, **hint):
        got, text = self.request("POST", "/throttle", json.dumps(hint))
        assert got == code, (got, text)
        return json.loads(text)

    def pod_dirs(self):
        return glob.glob(self.node + "/kubepods/burstable/pod*")

    def leaders(self):
        """tgid of each build's leader, by its name."""
        found = []
        for procs in glob.glob(self.node + "/kubepods/burstable/pod*/*/cgroup.procs"):
            try:
                for tgid in read(procs).split():
                    if read("/proc/%s/comm" % tgid).startswith("b:"):
                        found.append(int(tgid))
            except OSError:
                pass
        return found

    def end(self, seconds=60):
        assert self.process.wait(seconds) == 0, read(self.dir + "/log")
        self.nothing_left()
        return json.loads(read(self.dir + "/report"))

    def nothing_left(self):
        assert not os.path.exists(self.node), self.node + " is still there"
        assert processes() == [], processes()


def case_heights():
    """60-85 processes at the height, counted in cgroup.procs; the seven phases, in order."""
    generator = Generator("--builds", "20", "--concurrency", "8", "--time-scale", "0.08")
    heights, phases, leaders = collections.Counter(), {}, {}
    while generator.process.poll() is None:
        for path in generator.pod_dirs():
            for container in glob.glob(path + "/*/cgroup.procs"):
                try:
                    procs = read(container).split()
                except OSError:
                    continue
                heights[path] = max(heights[path], len(procs))
                if path not in leaders:
                    for tgid in procs:
                        try:
                            if read("/proc/%s/comm" % tgid).startswith("b:"):
                                leaders[path] = tgid
                        except OSError:
                            pass
        for path, tgid in leaders.items():
            try:
                comm = read("/proc/%s/comm" % tgid).strip()
            except OSError:
                continue
            seen = phases.setdefault(path, [])
            if comm.startswith("b:") and (not seen or seen[-1] != comm):
                seen.append(comm)
        time.sleep(0.01)
    report = generator.end()
    assert report["finished"] == 20 and report["first_attempt_failures"] == 0, report
    assert len(heights) == 20, heights
    right = [n for n in heights.values() if 60 <= n <= 85]
    assert len(right) >= 19, heights
    assert len(set(right)) > 5, "heights do not vary: %s" % heights
    wrong = [seen for seen in phases.values() if seen != PHASES]
    assert len(phases) == 20 and not wrong, wrong
    peaks = report["peak_processes_per_build"]
    assert len(peaks) == 20 and all(60 <= n <= 85 for n in peaks), peaks
    # Sampled from outside, a height may be missed; it is never above what the build says.
    pairs = list(zip(sorted(peaks), sorted(heights.values())))
    assert all(outside <= own for own, outside in pairs), pairs
    assert sum(own - outside for own, outside in pairs) <= 20, pairs


def created(threads, builds):
    """Creations by the kernel's count: in a PID namespace of its own, numbers are handed out one
    by one, and /proc/loadavg ends with the last. The shell is 1, buildgen is 2."""
    node = "%s/pidwarden-demo-test-%s" % (pids_mount(), uuid.uuid4().hex[:12])
    report = "%s/created-%s" % (work, threads)
    script = '"$@" >/dev/null || exit 1; read a b c d last </proc/loadavg; echo "$last"'
    done = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", script, "sh",
         program, "--local", "--listen", "127.0.0.1:0", "--node-cgroup", node, "--node-pids", "1200",
         "--builds", str(builds), "--concurrency", "3", "--time-scale", "0.05", "--threads",
         str(threads), "--report", report, "--log-level", "warn"],
        stdout=subprocess.PIPE, universal_newlines=True, timeout=60, env=ENV)
    assert done.returncode == 0, done
    counts = json.loads(read(report))
    assert counts["finished"] == builds, counts
    own = sum(counts[name] for name in
              ("processes_created", "threads_created", "pod_processes_created"))
    assert own == int(done.stdout) - 2, (own, done.stdout)
    return counts


def case_created():
    """What builds say they made is what the kernel made, to the last process and thread."""
    assert created(1, 4)["threads_created"] == 0
    counts = created(3, 3)
    # Every process has two threads beyond its first, the build's leader too.
    assert counts["threads_created"] == 2 * (counts["processes_created"] + 3), counts


def case_shape():
    """The kubelet's shape: directories, sandbox, and /pods that leads to them."""
    generator = Generator("--concurrency", "3", "--time-scale", "0.5", "--builds", "3")
    wait_for("3 builds", 10, lambda: len(generator.leaders()) == 3)
    code, text = generator.request("GET", "/pods")
    pods = json.loads(text)
    assert code == 200 and pods["kind"] == "PodList" and pods["apiVersion"] == "v1", text[:200]
    assert len(pods["items"]) == 3
    for pod in pods["items"]:
        meta, status = pod["metadata"], pod["status"]
        assert re.fullmatch(r"build-[a-z]+-[a-z]+-\d+-\d+-\d+-s-1-[a-z0-9]{5}", meta["name"])
        assert meta["labels"]["type"] == "build-job"
        assert meta["annotations"]["build.tool"] == "maven"
        owner = meta["ownerReferences"][0]
        assert owner["kind"] == "Job" and owner["name"] == meta["labels"]["job-name"]
        assert status["phase"] == "Running" and status["qosClass"] == "Burstable"
        container = status["containerStatuses"][0]["containerID"]
        assert container.startswith("containerd://"), container
        directory = "%s/kubepods/burstable/pod%s" % (generator.node, meta["uid"])
        leaves = {os.path.basename(os.path.dirname(path)): read(path).split()
                  for path in glob.glob(directory + "/*/cgroup.procs")}
        assert len(leaves) == 2 and all(re.fullmatch("[0-9a-f]{64}", leaf) for leaf in leaves)
        build = leaves.pop(container[len("containerd://"):])
        (sandbox,) = leaves.values()
        assert len(build) >= 1 and len(sandbox) == 1
        assert read("/proc/%s/comm" % sandbox[0]) == "pause\n"
    own = read("/proc/%d/cgroup" % generator.process.pid)
    assert "/system/buildgen" in own, own
    generator.process.send_signal(signal.SIGTERM)
    generator.end(10)


def case_interrupt():
    """Ctrl-C: running builds are no failures, and nothing is left."""
    generator = Generator("--concurrency", "6", "--time-scale", "0.2")
    wait_for("200 processes", 15, lambda: len(processes()) > 200)
    generator.process.send_signal(signal.SIGINT)
    report = generator.end(10)
    assert report["unfinished"] == 6 and report["first_attempt_failures"] == 0, report


def case_killed_builds():
    """A leader, a worker and a pause are killed by somebody else."""
    generator = Generator("--concurrency", "3", "--builds", "3", "--time-scale", "0.1")
    wait_for("3 grown builds", 15, lambda: len(generator.leaders()) == 3 and
             all(int(read(path + "/pids.current")) > 20 for path in generator.pod_dirs()))
    one, two, three = sorted(generator.pod_dirs())
    victims = []
    for path in (one, two):
        leaves = [read(leaf).split() for leaf in glob.glob(path + "/*/cgroup.procs")]
        victims.append(max(leaves, key=len))
    leader = [tgid for tgid in victims[0] if read("/proc/%s/comm" % tgid).startswith("b:")][0]
    worker = [tgid for tgid in victims[1] if not read("/proc/%s/comm" % tgid).startswith("b:")][0]
    pause = [read(leaf).split()[0] for leaf in glob.glob(three + "/*/cgroup.procs")
             if len(read(leaf).split()) == 1][0]
    for tgid in (leader, worker, pause):
        os.kill(int(tgid), signal.SIGKILL)
    wait_for("pods removed", 5, lambda: not any(map(os.path.exists, (one, two, three))))
    report = generator.end(60)
    # Each was tried again, and built.
    assert report["first_attempt_failures_killed"] == 3, report
    assert report["finished"] == 3 and report["attempts"] == 6, report


def case_killed_generator():
    """kill -9: its builds die with it, and the next start removes its cgroups."""
    first = Generator("--concurrency", "4", "--time-scale", "0.3")
    wait_for("100 processes", 15, lambda: len(processes()) > 100)
    first.process.kill()
    first.process.wait()
    wait_for("all processes gone", 3, lambda: processes() == [])
    assert os.path.isdir(first.node)
    second = Generator("--concurrency", "1", "--builds", "1", "--time-scale", "0.01")
    assert not os.path.exists(first.node)
    second.end()
    # A live generator's node is not taken from it.
    third = Generator("--concurrency", "2", "--time-scale", "0.3")
    fourth = Generator("--concurrency", "1", "--builds", "1", "--time-scale", "0.01")
    assert fourth.process.wait(30) == 0
    assert len(third.leaders()) == 2
    busy = subprocess.run([program, "--local", "--node-cgroup", third.node, "--listen",
                           "127.0.0.1:0", "--builds", "1"], stderr=subprocess.PIPE, env=ENV,
                          universal_newlines=True, timeout=20)
    assert busy.returncode == 1 and "in use" in busy.stderr, busy
    third.process.send_signal(signal.SIGTERM)
    third.end(10)


def case_throttle():
    """The contract of POST /throttle, judged by the leaders that really run."""
    generator = Generator("--paused", "--concurrency", "9", "--time-scale", "1", "--start-every",
                          "100ms")
    hint = {"scope": "node", "node": "a", "sequence": 5, "max_concurrent": 2, "reason": "test",
            "expires_in_s": 60}
    assert generator.throttle(**hint)["accepted"] is True
    assert generator.request("POST", "/start")[0] == 200
    wait_for("2 builds", 5, lambda: len(generator.leaders()) == 2)
    time.sleep(0.6)
    assert len(generator.leaders()) == 2
    older = generator.throttle(**dict(hint, sequence=4, max_concurrent=9))
    assert older["accepted"] is False and "sequence" in older["reason"], older
    # Another node's hint adds to the sum; the cluster's caps it.
    generator.throttle(**dict(hint, node="b", sequence=1, max_concurrent=3))
    generator.throttle(scope="cluster", sequence=1, max_concurrent=4, expires_in_s=60)
    wait_for("4 builds", 5, lambda: len(generator.leaders()) == 4)
    time.sleep(0.5)
    assert len(generator.leaders()) == 4
    generator.throttle(scope="cluster", sequence=2, max_concurrent=None)
    wait_for("5 builds", 5, lambda: len(generator.leaders()) == 5)
    # Fewer than run: none is touched.
    before = set(generator.leaders())
    generator.throttle(**dict(hint, sequence=6, max_concurrent=0))
    generator.throttle(**dict(hint, node="b", sequence=2, max_concurrent=0))
    time.sleep(0.7)
    assert set(generator.leaders()) == before
    assert generator.status()["allowed"] == 0
    # Two seconds, then forgotten; a withdrawn one at once.
    generator.throttle(**dict(hint, node="b", sequence=3, max_concurrent=None))
    generator.throttle(**dict(hint, sequence=7, max_concurrent=6, expires_in_s=2))
    wait_for("6 builds", 1.5, lambda: len(generator.leaders()) == 6)
    assert generator.status()["throttle"]["max_concurrent"] == 6
    wait_for("9 builds", 6, lambda: len(generator.leaders()) == 9)
    # After expiry a restarted agent's numbers count again.
    assert generator.throttle(**dict(hint, sequence=1, max_concurrent=9))["accepted"] is True

    good = json.dumps(hint)
    bad = ["", "{", "[]", "null", good + "x", "[" * 50000, '"scope"', "\xff"]
    for member, values in {
            "scope": [None, 1, "world", ""], "node": [None, "", 1, "n" * 254],
            "sequence": [None, -1, 1.5, "1", 1e300],
            "max_concurrent": [-1, 1.5, "2", True, []],
            "expires_in_s": [None, 0, -1, "60", 1e9], "reason": [1, {}]}.items():
        bad += [json.dumps(dict(hint, **{member: value})) for value in values]
        if member != "reason":
            bad.append(json.dumps({k: v for k, v in hint.items() if k != member}))
    state = generator.status()["throttle"]["max_concurrent"]
    for body in bad:
        code, text = generator.request("POST", "/throttle", body)
        assert code == 400, (code, body[:80])
        answer = json.loads(text)
        assert answer["accepted"] is False and answer["reason"], text
    assert generator.request("POST", "/throttle", "x" * 70000)[0] == 413
    assert generator.request("GET", "/throttle")[0] == 405
    assert generator.request("GET", "/nothing")[0] == 404
    assert generator.status()["throttle"]["max_concurrent"] == state
    generator.process.send_signal(signal.SIGTERM)
    report = generator.end(10)
    assert report["first_attempt_failures"] == 0 and report["unfinished"] == 9, report


def case_ignored_hints():
    generator = Generator("--paused", "--concurrency", "4", "--time-scale", "1", "--start-every",
                          "100ms", "--ignore-hints")
    answer = generator.throttle(scope="node", node="a", sequence=1, max_concurrent=0,
                                expires_in_s=60)
    assert answer["accepted"] is True and answer["obeyed"] is False, answer
    generator.request("POST", "/start")
    wait_for("4 builds", 5, lambda: len(generator.leaders()) == 4)
    generator.process.send_signal(signal.SIGTERM)
    generator.end(10)


def case_token():
    token = work + "/token"
    with open(token, "w") as file:
        file.write("sesame\n")
    generator = Generator("--paused", "--token-file", token, token="sesame")
    assert generator.request("GET", "/pods")[0] == 200
    for wrong in ("sesam", "sesame2", "x"):
        assert generator.request("GET", "/pods", token=wrong)[0] == 401
    generator.token = None
    assert generator.request("GET", "/pods")[0] == 401
    assert generator.request("POST", "/throttle", "{}")[0] == 401
    assert generator.request("GET", "/healthz")[0] == 200
    generator.process.send_signal(signal.SIGTERM)
    generator.end(10)


def case_exhausted():
    """Too small a node: builds fail and are counted, the machine is not harmed."""
    generator = Generator("--node-pids", "200", "--concurrency", "6", "--builds", "6",
                          "--time-scale", "0.05", "--backoff-limit", "1")
    highest = 0
    while generator.process.poll() is None:
        try:
            highest = max(highest, int(read(generator.node + "/pids.current")))
        except OSError:
            pass
        time.sleep(0.005)
    report = generator.end()
    assert 190 <= highest <= 201 and 190 <= report["highest_pids"] <= 200, (highest, report)
    assert report["first_attempt_failures"] >= 1 and report["fork_failures_in_builds"] >= 1
    assert report["started"] == 6 and report["finished"] + report["failed"] == 6, report
    failures = sum(report[name] for name in report if name.startswith("failures_"))
    assert report["attempts"] == report["finished"] + failures, report


def case_build_fails():
    """One build by itself: a fork that fails makes it fail, and it takes its processes along."""
    for limit, expected in (("max", 0), ("30", 1)):
        cgroup = "%s/pidwarden-build-%s" % (pids_mount(), uuid.uuid4().hex[:12])
        os.mkdir(cgroup)
        with open(cgroup + "/pids.max", "w") as file:
            file.write(limit)
        enter = 'echo 0 >"$0/cgroup.procs" && exec "$@"'
        done = subprocess.run(["sh", "-c", enter, cgroup, program, "run-build", "--seed", "5",
                               "--time-scale", "0.02"], stdout=subprocess.PIPE, env=ENV,
                              universal_newlines=True, timeout=30)
        assert done.returncode == expected, done
        assert ("BUILD FAILURE" in done.stdout) == (expected == 1), done.stdout
        assert ("Resource temporarily unavailable" in done.stdout) == (expected == 1), done.stdout
        assert read(cgroup + "/cgroup.procs") == "" and processes() == []
        os.rmdir(cgroup)


def case_no_pod_starts():
    """The generator's own forks are below the limit too: no pod can be started."""
    generator = Generator("--node-pids", "1", "--concurrency", "2", "--builds", "2",
                          "--time-scale", "0.01", "--backoff-limit", "1")
    report = generator.end()
    assert report["first_attempt_failures_pod_start"] == 2, report
    assert report["pod_start_failures"] == 4 and report["failed"] == 2, report
    assert report["pod_processes_created"] == 0, report


def case_canary():
    for limit, failing in (("max", False), ("1", True)):
        cgroup = "%s/pidwarden-canary-%s" % (pids_mount(), uuid.uuid4().hex[:12])
        os.mkdir(cgroup)
        with open(cgroup + "/pids.max", "w") as file:
            file.write(limit)
        report = work + "/canary"
        canary = subprocess.Popen([program, "canary", "--cgroup", cgroup, "--rate", "50",
                                   "--report", report], env=ENV)
        time.sleep(2)
        canary.terminate()
        assert canary.wait(5) == 0
        counts = json.loads(read(report))
        assert 60 <= counts["attempts"] <= 102, counts
        assert counts["exec_failures"] == 0, counts
        if failing:
            assert counts["fork_failures"] == counts["attempts"], counts
            assert counts["by_errno"] == {"EAGAIN": counts["attempts"]}, counts
        else:
            assert counts["fork_failures"] == 0 and counts["by_errno"] == {}, counts
        assert not os.path.exists(cgroup)


def case_refuses():
    """A directory that may be a real node is not touched; bad options are named."""
    real = "%s/not-a-demo-%s" % (pids_mount(), uuid.uuid4().hex[:12])
    os.makedirs(real + "/kubepods/burstable")
    sleeper = subprocess.Popen(["sleep", "60"])
    try:
        with open(real + "/kubepods/burstable/cgroup.procs", "w") as file:
            file.write(str(sleeper.pid))
        for node in (real, pids_mount(), pids_mount() + "/", "/tmp/x", pids_mount() + "/a/../b"):
            done = subprocess.run([program, "--local", "--node-cgroup", node, "--listen",
                                   "127.0.0.1:0", "--builds", "1"], stderr=subprocess.PIPE,
                                  universal_newlines=True, timeout=20, env=ENV)
            assert done.returncode in (1, 2) and node.rstrip("/") in done.stderr, (node, done)
        assert sleeper.poll() is None
        assert read(real + "/kubepods/burstable/cgroup.procs").split() == [str(sleeper.pid)]
    finally:
        sleeper.kill()
        sleeper.wait()
        for directory in (real + "/kubepods/burstable", real + "/kubepods", real):
            os.rmdir(directory)
    for options in (["--concurrency", "0"], ["--concurrency=x"], ["--duration", "5"],
                    ["--time-scale", "nan"], ["--nonsense"], ["--seed"], ["--listen", "nowhere"],
                    ["--token-file", "/nonexistent"], ["--local=maybe"]):
        done = subprocess.run([program, "--local", *options], stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=20, env=ENV)
        assert done.returncode in (1, 2) and options[0].split("=")[0] in done.stderr, done


def main():
    global work, program
    cases = {name[5:]: case for name, case in globals().items() if name.startswith("case_")}
    if os.geteuid() != 0:
        print("skipped: cgroups are made by root only")
        return SKIP
    mount = pids_mount()
    if not mount or not os.access(mount, os.W_OK):
        print("skipped: no writable pids hierarchy")
        return SKIP
    work = tempfile.mkdtemp(prefix="test-buildgen.")
    program = work + "/buildgen"
    shutil.copy(sys.argv[1], program)
    failed = 0
    try:
        for name in sys.argv[2:] or cases:
            start = time.monotonic()
            try:
                cases[name]()
                print("ok      %s (%.1f s)" % (name, time.monotonic() - start), flush=True)
            except Exception as problem:  # a failed case must not hide the next one
                failed += 1
                print("FAILED  %s: %s: %s" % (name, type(problem).__name__, problem), flush=True)
                for tgid in processes():
                    try:
                        os.kill(tgid, signal.SIGTERM)
                    except OSError:
                        pass
                time.sleep(4)
    finally:
        for tgid in processes():
            os.kill(tgid, signal.SIGKILL)
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failed else 0


sys.exit(main())
