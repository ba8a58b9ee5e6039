#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The command line from outside: exit codes, and messages that name the culprit."""

import os
import socket
import subprocess

import e2e


def run(*argv, env=None):
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PIDWARDEN_")}
    environment.update(env or {})
    return subprocess.run([e2e.setting.agent, *argv], stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, timeout=20)


def refused(words, *argv, env=None, code=2):
    done = run(*argv, env=env)
    assert done.returncode == code, (argv, done)
    assert done.stdout == "", (argv, done)
    for word in words:
        assert word in done.stderr, (argv, word, done.stderr)
    assert done.stderr.count("\n") == 1 or code == 1, done.stderr
    assert all(char == "\n" or char >= " " for char in done.stderr), done.stderr


def file(name, text, mode="w"):
    path = e2e.setting.work + "/" + name
    with open(path, mode) as out:
        out.write(text)
    return path


def refusals():
    missing = e2e.setting.work + "/not-there"
    token = file("token", "sesame\n")
    for words, argv in [
            (["--nonsense"], ["--nonsense"]),
            (["--intervall", "interval"], ["--intervall", "1s"]),
            (["extra"], ["extra"]),
            (["interval", "99ms", "100ms"], ["--interval", "99ms"]),
            (["interval", "2h"], ["--interval", "2h"]),
            (["interval", "1"], ["--interval", "1"]),
            (["interval", "soon"], ["--interval=soon"]),
            (["interval"], ["--interval"]),
            (["mode", "shout", "observe", "throttle"], ["--mode", "shout"]),
            (["mode", "webhook-url"], ["--mode", "throttle"]),
            (["listen", "nowhere"], ["--listen", "nowhere"]),
            (["listen", "65536"], ["--listen", "127.0.0.1:65536"]),
            (["kubelet-url", "ftp://"], ["--kubelet-url", "ftp://x"]),
            (["kubelet-token-file", missing], ["--kubelet-url", "https://127.0.0.1",
                                               "--kubelet-token-file", missing]),
            (["kubelet-ca-file", token], ["--kubelet-url", "https://127.0.0.1",
                                          "--kubelet-ca-file", token]),
            (["kubelet-token-file", "https"], ["--kubelet-url", "http://198.51.100.7",
                                               "--kubelet-token-file", token]),
            (["pids-per-build", "0"], ["--pids-per-build", "0"]),
            (["headroom-enter", "101%"], ["--headroom-enter", "101%"]),
            (["headroom-leave", "headroom-enter"], ["--headroom-leave", "20%"]),
            (["node-cgroup", missing], ["--node-cgroup", missing]),
            (["node-cgroup", token], ["--node-cgroup", token]),
            (["cgroup-root", "relative"], ["--cgroup-root", "relative"]),
            ([missing, "No such file"], ["--config", missing]),
            (["no-bpf", "perhaps"], ["--no-bpf=perhaps"]),
            (["log-level", "loud"], ["--log-level", "loud"]),
            (["\\x1b"], ["--mode", "\x1b[31m"])]:
        refused([word for word in words if word != "\\x1b"], *argv)
        refused([word for word in words if word != "\\x1b"], *argv, "--check-config")


def from_the_environment():
    refused(["PIDWARDEN_INTERVAL", "7"], env={"PIDWARDEN_INTERVAL": "7"})
    refused(["PIDWARDEN_NONSENSE"], env={"PIDWARDEN_NONSENSE": "1"})
    done = run("--check-config", env={"PIDWARDEN_INTERVAL": "700ms"})
    assert done.returncode == 0 and "700ms" in done.stdout, done


def unreadable_token():
    if os.geteuid() != 0:
        raise e2e.Skip("only root can become somebody who may not read a file")
    path = file("secret", "sesame\n")
    os.chmod(path, 0o600)
    os.chmod(e2e.setting.work, 0o755)
    done = subprocess.run(
        [e2e.setting.agent, "--kubelet-url", "https://127.0.0.1", "--kubelet-token-file", path],
        text=True, capture_output=True, timeout=20, user=65534, group=65534, extra_groups=[])
    assert done.returncode == 2, done
    assert "kubelet-token-file" in done.stderr and path in done.stderr, done.stderr
    assert "Permission denied" in done.stderr, done.stderr
    fifo = e2e.setting.work + "/fifo"
    os.mkfifo(fifo)
    refused(["kubelet-token-file", fifo], "--kubelet-url", "https://127.0.0.1",
            "--kubelet-token-file", fifo)


def yaml_file():
    """Each mistake with its line."""
    for text, line, words in [
            ("interval: 1s\nnonsense: 1\n", 2, ["nonsense"]),
            ("interval: 1s\n\n# word\nmode: shout\n", 4, ["mode", "shout"]),
            ("mode: observe\ninterval: [1, 2]\n", 2, ["list"]),
            ("mode: observe\nmode: observe\n", 2, ["mode"]),
            ("- a\n- b\n", 1, []),
            ("interval: 1s\nlisten: \"127.0.0.1:1\n", None, []),
            ("interval: 1s\n\tmode: observe\n", 2, []),
            ("interval: 5ms\n", 1, ["interval", "5ms"]),
            ("a: &x b\nc: *x\n", 1, []),
            ("interval: 1s\n---\nmode: observe\n", None, []),
            ("no-bpf: maybe\n", 1, ["no-bpf", "maybe"]),
            ("config: other.yaml\n", 1, ["config"])]:
        path = file("bad.yaml", text)
        expected = [path] + words + ([":%d" % line] if line else [])
        refused(expected, "--config", path)
        refused(expected, "--check-config", "--config", path)
    path = file("bytes.yaml", b"mode: \xff\xfe\n", "wb")
    refused([path], "--config", path)
    # Flag before environment before file.
    path = file("good.yaml", "interval: 700ms\nlog-level: debug\nmode: observe\n")
    done = run("--config", path, "--check-config")
    assert done.returncode == 0 and "700ms" in done.stdout, done
    done = run("--config", path, "--check-config", env={"PIDWARDEN_INTERVAL": "800ms"})
    assert "800ms" in done.stdout and "700ms" not in done.stdout, done
    done = run("--config", path, "--check-config", "--interval", "900ms",
               env={"PIDWARDEN_INTERVAL": "800ms"})
    assert "900ms" in done.stdout and "800ms" not in done.stdout, done


def says_and_ends():
    for option, words in (("--help", ["--listen", "127.0.0.1:9917", "--node-cgroup"]),
                          ("--version", ["pidwarden "]), ("--check-config", ["interval"])):
        done = run(option)
        assert done.returncode == 0 and done.stderr == "", done
        assert all(word in done.stdout for word in words), done.stdout
    full = "/dev/full"
    if os.path.exists(full):
        with open(full, "w") as out:
            done = subprocess.run([e2e.setting.agent, "--help"], stdout=out, timeout=20)
        assert done.returncode == 1, "a text that nobody got is no success"


def port_in_use():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        refused([address, "in use"], "--listen", address, "--no-bpf", code=1)
        refused([address, "in use"], "--listen", address, code=1)


def two_agents():
    """One machine, one port: the second says why it ends, the first serves on."""
    with e2e.Node() as node, e2e.Agent("--interval", "100ms", node=node) as agent:
        address = "127.0.0.1:%d" % agent.port
        refused([address, "in use"], "--listen", address, "--node-cgroup", node.path, code=1)
        agent.ticks(2)


def not_a_cgroup():
    """A directory that is none of the pids hierarchy: named, and not served as if it were a node."""
    directory = e2e.setting.work + "/plain"
    os.makedirs(directory + "/kubepods", exist_ok=True)
    done = subprocess.Popen([e2e.setting.agent, "--listen", "127.0.0.1:0", "--no-bpf",
                             "--node-cgroup", directory], stderr=subprocess.PIPE, text=True)
    try:
        _, err = done.communicate(timeout=3)
    except subprocess.TimeoutExpired:
        done.kill()
        _, err = done.communicate()
        raise AssertionError("it runs on a directory that is no cgroup: " + err)
    assert done.returncode in (1, 2) and directory in err, err


e2e.run([refusals, from_the_environment, unreadable_token, yaml_file, says_and_ends, port_in_use,
         two_agents, not_a_cgroup])
