# SPDX-License-Identifier: Apache-2.0
"""What the end-to-end tests share: a stand-in node of real cgroups, the agent, a fake kubelet, and a
client that says what of its waiting was the machine's.

Everything that a test starts ends with it: by id, never by name.
"""

import contextlib
import http.server
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import uuid

SKIP = 77


class Skip(Exception):
    """The message says what is missing."""


class Setting:
    agent = ""  # the programs, from the command line
    storm = ""
    buildgen = ""
    sanitized = False
    work = ""


setting = Setting()


def read(path):
    with open(path) as file:
        return file.read()


def write(path, text):
    with open(path, "w") as file:
        file.write(str(text))


def wait_for(what, seconds, condition):
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("not within %s s: %s" % (seconds, what))
        time.sleep(0.01)


def log_tail(path):
    return read(path)[-3000:]


# --- cgroups ---


def pids_mount():
    """(mount point, is v2) of the hierarchy with the pids controller."""
    v2 = None
    for line in open("/proc/self/mountinfo"):
        left, right = line.rstrip("\n").split(" - ")
        point, (kind, _, options) = left.split()[4], right.split(" ", 2)
        if kind == "cgroup" and "pids" in options.split(","):
            return point, False
        if kind == "cgroup2" and not v2:
            if "pids" in read(point + "/cgroup.controllers").split():
                v2 = point
    return v2, v2 is not None


def unified_mount():
    for line in open("/proc/self/mountinfo"):
        left, right = line.split(" - ")
        if right.split()[0] == "cgroup2":
            return left.split()[4]
    return None


def hex_id():
    return uuid.uuid4().hex + uuid.uuid4().hex


class Container:
    def __init__(self, pod, name, limit=None):
        self.pod, self.name, self.id = pod, name, hex_id()
        self.path = pod.path + "/" + self.id
        make_cgroup(self.path)
        if limit is not None:
            write(self.path + "/pids.max", limit)

    def current(self):
        return int(read(self.path + "/pids.current"))

    def remove(self):
        remove_cgroup(self.path)
        self.pod.containers.remove(self)


class Pod:
    """A pod as the kubelet makes it: its directory, a sandbox leaf, containers."""

    def __init__(self, node, name=None, namespace="builds", build=True, uid=None):
        self.node = node
        self.uid = uid or str(uuid.uuid4())
        self.name = name or "pod-" + self.uid[:8]
        self.namespace, self.build = namespace, build
        self.path = "%s/kubepods/burstable/pod%s" % (node.path, self.uid)
        self.containers = []
        make_cgroup(self.path)
        self.sandbox = self.container("POD")
        node.pods.append(self)

    def container(self, name, limit=None):
        container = Container(self, name, limit)
        self.containers.append(container)
        return container

    def current(self):
        return int(read(self.path + "/pids.current"))

    def remove(self):
        remove_cgroup(self.path)
        self.node.pods.remove(self)

    def item(self):
        """As an item of the kubelet's /pods. The sandbox is not named there."""
        named = [c for c in self.containers if c.name != "POD"]
        labels = {"type": "build-job", "job-name": self.name + "-job"} if self.build else {}
        owner = [{"apiVersion": "batch/v1", "kind": "Job", "name": self.name + "-job",
                  "uid": str(uuid.uuid4()), "controller": True}] if self.build else []
        return {
            "metadata": {"name": self.name, "namespace": self.namespace, "uid": self.uid,
                         "labels": labels, "ownerReferences": owner},
            "spec": {"containers": [{"name": c.name, "image": "test"} for c in named]},
            "status": {
                "phase": "Running", "qosClass": "Burstable",
                "containerStatuses": [
                    {"name": c.name, "containerID": "containerd://" + c.id,
                     "state": {"running": {}}} for c in named]},
        }


def make_cgroup(path):
    """With its missing parents, and on v2 with the pids controller on all the way down."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    make_cgroup(parent)
    control = parent + "/cgroup.subtree_control"
    if os.path.exists(control):
        write(control, "+pids")
    os.mkdir(path)


def kill_all(path):
    """Every process in and below @path, until none is left: a storm forks on meanwhile."""
    for _ in range(500):
        left = 0
        for directory, _, files in os.walk(path):
            with contextlib.suppress(OSError):
                for tgid in read(directory + "/cgroup.procs").split():
                    left += 1
                    with contextlib.suppress(OSError):
                        os.kill(int(tgid), signal.SIGKILL)
        if left == 0:
            return
        time.sleep(0.01)
    raise AssertionError("%s does not get empty" % path)


def remove_cgroup(path):
    for directory, _, _ in os.walk(path, topdown=False):
        for attempt in range(200):
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:  # its last task is being buried
                time.sleep(0.005)
        else:
            os.rmdir(directory)


class Node:
    """A cgroup with its own pids.max, so that nothing else on the machine can be harmed."""

    def __init__(self, pids_max=600):
        mount, self.v2 = pids_mount()
        self.path = "%s/pidwarden-e2e-%s" % (mount, uuid.uuid4().hex[:12])
        self.pods, self.children = [], []
        make_cgroup(self.path + "/kubepods/burstable")
        write(self.path + "/pids.max", pids_max)

    def __enter__(self):
        return self

    def pod(self, *args, **options):
        return Pod(self, *args, **options)

    def run(self, cgroup, *argv, **options):
        """A child in @cgroup (a path). It enters by itself, so its exec is the first there."""
        child = subprocess.Popen(
            argv, preexec_fn=lambda: write(cgroup + "/cgroup.procs", 0), text=True, **options)
        self.children.append(child)
        return child

    def hold(self, cgroup, processes, threads=0):
        """A storm that holds 1 + processes * (threads + 1) tasks until it is let go."""
        child = self.run(cgroup, setting.storm, "hold", str(processes), str(threads),
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert child.stdout.readline() == "ready\n"
        return child

    def __exit__(self, *_):
        for child in self.children:
            if child.poll() is None:
                child.kill()
        if os.path.isdir(self.path):
            kill_all(self.path)
        for child in self.children:
            child.wait()
            for pipe in (child.stdin, child.stdout, child.stderr):
                if pipe:
                    pipe.close()
        if os.path.isdir(self.path):
            remove_cgroup(self.path)


def let_go(child):
    """Ends a storm that holds. What it says it has made, with its own exec and exit."""
    out, _ = child.communicate(timeout=30)
    return made(child, out)


def made(child, out=None):
    if out is None:
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 0, child.args
    counts = {k: int(v) for k, v in re.findall(r"(\w+)=(\d+)", out)}
    return {"processes": counts["processes"], "threads": counts["threads"],
            "execs": counts["execs"] + 1,
            "exits": counts["processes"] + counts["threads"] + 1}


# --- metrics ---

SERIES = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')


class Metrics(dict):
    """{name: [(labels, value), ...]}"""

    def __init__(self, text):
        super().__init__()
        self.text = text
        for line in text.split("\n"):
            if not line or line[0] == "#":
                continue
            match = SERIES.match(line)
            assert match, line
            labels = {name: re.sub(r'\\(.)', lambda m: "\n" if m.group(1) == "n" else m.group(1),
                                   value)
                      for name, value in LABEL.findall(match.group(2) or "")}
            self.setdefault(match.group(1), []).append((labels, float(match.group(3))))

    def find(self, name, **labels):
        """Value of the one series with these labels, None when there is none."""
        found = [value for have, value in self.get(name, [])
                 if all(have.get(key) == wanted for key, wanted in labels.items())]
        assert len(found) <= 1, (name, labels, found)
        return found[0] if found else None

    def value(self, name, **labels):
        found = self.find(name, **labels)
        assert found is not None, "no %s %s" % (name, labels)
        return found


# --- the agent ---


class Agent:
    def __init__(self, *options, node=None, env=None, wait=True, wrap=(), leaks=True):
        self.dir = tempfile.mkdtemp(dir=setting.work)
        self.log_path = self.dir + "/log"
        self.state = self.dir + "/state"
        argv = [setting.agent, "--listen", "127.0.0.1:0", "--state-dir", self.state]
        if node:
            argv += ["--node-cgroup", node.path]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PIDWARDEN_")}
        environment["ASAN_OPTIONS"] = "detect_leaks=%d" % leaks
        environment.update(env or {})
        self.log_file = open(self.log_path, "wb")
        # A later --state-dir takes the place of the first.
        self.process = subprocess.Popen([*wrap, *argv, *options], stdin=subprocess.DEVNULL,
                                        stdout=self.log_file, stderr=self.log_file, env=environment)
        self.port = 0
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def listening():
            assert self.process.poll() is None, log_tail(self.log_path)
            return re.search(r"serving on .*\(port (\d+)\)", self.log())
        self.port = int(wait_for("agent listens", 20, listening).group(1))
        wait_for("agent is ready", 10, lambda: self.get("/readyz")[0] == 200)

    def __enter__(self):
        return self

    def __exit__(self, kind, problem, _):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.log_file.close()
        if kind:
            print("agent's log:\n" + log_tail(self.log_path), flush=True)
        else:
            assert self.process.returncode in (0, -signal.SIGKILL), (
                self.process.returncode, log_tail(self.log_path))

    def log(self):
        with open(self.log_path, "rb") as file:
            return file.read().decode("utf-8", "replace")

    def get_bytes(self, path):
        with socket.create_connection(("127.0.0.1", self.port), 10) as connection:
            connection.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
            answer = b""
            while True:
                more = connection.recv(1 << 16)
                if not more:
                    break
                answer += more
        head, body = answer.split(b"\r\n\r\n", 1)
        return int(head.split()[1]), body

    def get(self, path):
        status, body = self.get_bytes(path)
        return status, body.decode()

    def json(self, path):
        status, text = self.get(path)
        assert status == 200, (path, status, text)
        return json.loads(text)

    def metrics(self):
        status, text = self.get("/metrics")
        assert status == 200, text
        return Metrics(text)

    def ticks(self, n):
        """The metrics of n snapshots one after the other, all taken wholly after this call."""
        start = last = self.metrics().value("pidwarden_snapshots_total")
        shown = []
        end = time.monotonic() + 30
        while len(shown) < n:
            assert time.monotonic() < end, "ticks do not come\n" + log_tail(self.log_path)
            metrics = self.metrics()
            at = metrics.value("pidwarden_snapshots_total")
            # The first may have been half done when this was called.
            if at > last and at >= start + 2:
                shown.append(metrics)
            last = at
            time.sleep(0.01)
        return shown

    def tick(self):
        return self.ticks(1)[0]

    def status_kb(self, field):
        return int(re.search(r"^%s:\s+(\d+) kB" % field,
                             read("/proc/%d/status" % self.process.pid), re.M).group(1))

    def stop(self, seconds=2):
        """SIGTERM: how long it takes. Exit code 0, also from the leak check."""
        start = time.monotonic()
        self.process.terminate()
        code = self.process.wait(10)
        took = time.monotonic() - start
        assert code == 0, (code, log_tail(self.log_path))
        # A sanitizer looks for leaks before it lets the process go.
        assert took < seconds + (5 if setting.sanitized else 0), took
        return took


# --- how long /metrics takes ---


def waited_ns(tgid):
    """Time that the main thread stood ready and had no CPU: the machine's, not the program's."""
    with contextlib.suppress(OSError):
        return int(read("/proc/%d/schedstat" % tgid).split()[1])
    return 0


def probe_main(port, tgid):
    """A process of its own, so that no other Python thread is in the way: a line a request."""
    while True:
        waited = waited_ns(tgid) + waited_ns(os.getpid())
        start = time.monotonic()
        size = 0
        problem = ""
        try:
            with socket.create_connection(("127.0.0.1", port), 10) as connection:
                connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                while True:
                    more = connection.recv(1 << 18)
                    if not more:
                        break
                    size += len(more)
        except OSError as error:
            problem = str(error).replace(" ", "_")
        took = time.monotonic() - start
        waited = (waited_ns(tgid) + waited_ns(os.getpid()) - waited) / 1e9
        print("%.6f %.6f %.6f %d %s" % (start, took, waited, size, problem or "-"), flush=True)
        time.sleep(0.02)


class Probe:
    """Asks for /metrics all the time and measures each answer."""

    def __init__(self, agent):
        self.path = agent.dir + "/probe"
        self.file = open(self.path, "w")
        self.process = subprocess.Popen(
            [sys.executable, os.path.abspath(__file__), "probe", str(agent.port),
             str(agent.process.pid)], stdout=self.file)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.file.close()

    def check(self, bound=0.1):
        """Every request so far. What a process spent ready to run, waiting for a CPU, is not
        counted: other work on the test machine makes that."""
        lines = [line.split() for line in read(self.path).splitlines() if line.count(" ") == 4]
        assert lines, "no request was measured"
        failed = [line for line in lines if line[4] != "-" or int(line[3]) < 1000]
        assert not failed, "requests without an answer: %s" % failed[:3]
        own = [float(line[1]) - float(line[2]) for line in lines]
        late = [line for line, seconds in zip(lines, own) if seconds > bound]
        assert not late, "%d of %d requests above %.0f ms: %s" % (
            len(late), len(lines), bound * 1e3, late[:3])
        raw = sorted(float(line[1]) for line in lines)
        return "%d requests, longest %.1f ms (%.1f ms with waiting for a CPU)" % (
            len(lines), max(own) * 1e3, raw[-1] * 1e3)


class LoopWatch:
    """The agent's own figure of how long its loop was away, without what the machine kept it waiting
    for a CPU."""

    SPAN = 0.5  # a figure is of the time since the tick before, so at most this old

    def __init__(self, agent):
        self.agent, self.samples = agent, []
        self.sample()

    def sample(self, metrics=None):
        waited = waited_ns(self.agent.process.pid) / 1e9
        metrics = metrics or self.agent.metrics()
        self.samples.append((time.monotonic(), waited, waited_ns(self.agent.process.pid) / 1e9,
                             metrics.value("pidwarden_loop_longest_seconds")))

    def check(self, bound=0.1):
        worst = 0.0
        for at, _, waited, longest in self.samples:
            before = [row[1] for row in self.samples if row[0] <= at - self.SPAN]
            worst = max(worst, longest - (waited - (before or [self.samples[0][1]])[-1]))
        assert worst < bound, "the loop was away for %.0f ms" % (worst * 1e3)
        return "loop away %.1f ms at most" % (worst * 1e3)


# --- a fake kubelet ---


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass  # a client that goes in the middle is what some cases are about


class Kubelet:
    """Answers /pods as behave(handler) does; by default with node's pods."""

    def __init__(self, node=None, tls=None):
        self.node, self.behave, self.asked = node, None, 0
        self.headers = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                outer.headers.append(dict(self.headers))
                with contextlib.suppress(OSError):
                    (outer.behave or outer.good)(self)

            def log_message(self, *_):
                pass

        self.handler = Handler
        self.tls = tls
        self.server = None
        self.port = 0
        self.open()

    def open(self):
        """Again after close(), on the same port."""
        self.server = Server(("127.0.0.1", self.port), self.handler)
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
        self.server = None

    @property
    def url(self):
        return "%s://127.0.0.1:%d" % ("https" if self.tls else "http", self.port)

    def options(self):
        return ["--kubelet-url", self.url, "--kubelet-interval", "1s"]

    def body(self):
        return json.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {},
                           "items": [pod.item() for pod in list(self.node.pods)]}).encode()

    def good(self, handler):
        answer(handler, 200, self.body())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def answer(handler, status, body, kind="application/json"):
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


# --- a test's main ---


def run(cases, needs_root=True):
    """usage: test_x.py --agent PROGRAM [--storm PROGRAM] [--buildgen PROGRAM] [case...]

    cases: functions, called in order. One line each, as TAP writes them.
    """
    wanted = []
    arguments = iter(sys.argv[1:])
    for argument in arguments:
        if argument in ("--agent", "--storm", "--buildgen"):
            setattr(setting, argument[2:], next(arguments))
        else:
            wanted.append(argument)
    if needs_root:
        mount, _ = pids_mount()
        problem = ("cgroups are made by root only" if os.geteuid() != 0 else
                   None if mount and os.access(mount, os.W_OK) else "no writable pids hierarchy")
        if problem:
            print("skipped: " + problem)
            sys.exit(1 if os.environ.get("CI") == "true" else SKIP)
    with open(setting.agent, "rb") as program:
        setting.sanitized = b"__asan_init" in program.read()
    setting.work = tempfile.mkdtemp(prefix="pidwarden-e2e.")
    failed = skipped = 0
    try:
        for case in cases:
            name = case.__name__
            if wanted and name not in wanted:
                continue
            start = time.monotonic()
            try:
                told = case()
                print("ok %s (%.1f s%s)" % (name, time.monotonic() - start,
                                            "; " + told if told else ""), flush=True)
            except Skip as why:
                skipped += 1
                if os.environ.get("CI") == "true":
                    failed += 1
                    print("not ok %s: skipped where CI=true: %s" % (name, why), flush=True)
                else:
                    print("ok %s # SKIP %s" % (name, why), flush=True)
            except Exception as problem:  # a failed case must not hide the next one
                failed += 1
                line = problem.__traceback__
                where = []
                while line:
                    if os.path.basename(line.tb_frame.f_code.co_filename) != "e2e.py":
                        where.append(str(line.tb_lineno))
                    line = line.tb_next
                print("not ok %s: %s: %s (line %s)" % (
                    name, type(problem).__name__, problem, ", ".join(where)), flush=True)
    finally:
        shutil.rmtree(setting.work, ignore_errors=True)
    sys.exit(1 if failed else SKIP if skipped and skipped == len(wanted or cases) else 0)


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] != "probe":
        sys.exit("e2e.py is what the tests share; run test_*.py")
    probe_main(int(sys.argv[2]), int(sys.argv[3]))
