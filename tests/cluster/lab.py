"""A throw-away Slurm on loopback: several nodes and pretended GPUs on one machine, all its state in one folder.

No cgroups and no accounting, as in a container: memory is watched by Slurm once a second (a job over it ends FAILED,
not OUT_OF_MEMORY), and what became of a job stands in a text file (`Lab.ended`).
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

TOOLS = {
    "munged": "munge", "slurmctld": "slurmctld", "slurmd": "slurmd",
    "sbatch": "slurm-client", "squeue": "slurm-client", "srun": "slurm-client", "scancel": "slurm-client",
    "scontrol": "slurm-client", "sinfo": "slurm-client", "sstat": "slurm-client",
}  # fmt: skip
"""What the lab calls, and the Debian package it comes in."""
CLIENTS = ("srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sstat")
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
TEMPLATE = Path(__file__).with_name("slurm.conf.in")


def missing_packages():
    """Debian packages that have to be installed before a lab can be started."""
    return sorted({package for tool, package in TOOLS.items() if shutil.which(tool, path=PATH) is None})


def wait(condition, what, patience=60.0, pause=0.1):
    """Wait until `condition` gives something true, and return it."""
    end = time.monotonic() + patience
    while not (found := condition()):
        assert time.monotonic() < end, f"{what}: not within {patience:.0f} s"
        time.sleep(pause)
    return found


@dataclass(frozen=True)
class Job:
    """A job in the queue."""

    number: str
    state: str
    rule: str
    node: str


class Lab:
    """One cluster; `start` and `stop` it. Nodes claim more processors than there are, so that jobs run side by side."""

    def __init__(self, folder, *, nodes=2, processors=4, memory=16000, gpus=1):
        self.folder, self.nodes, self.processors, self.memory, self.gpus = folder, nodes, processors, memory, gpus

    @property
    def environment(self):
        """Variables under which Slurm's commands, and jobs, find this cluster."""
        path = os.pathsep.join([str(self.folder / "bin"), os.environ["PATH"]])
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self):
        for name in ("state", "log", "dev", "bin", *(f"spool/n{node}" for node in self._numbers)):
            (self.folder / name).mkdir(parents=True)
        self._write()
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        files = {"key-file": key, "socket": self.folder / "munge.sock", "pid-file": self.folder / "munged.pid"}
        files |= {"log-file": self.folder / "log/munged.log", "seed-file": self.folder / "munge.seed"}
        self._daemon("munged", "--force", *(f"--{name}={path}" for name, path in files.items()))
        conf = ("-f", str(self.folder / "slurm.conf"))
        self._daemon("slurmctld", "-c", *conf, "-L", str(self.folder / "log/slurmctld.log"))
        for node in self._numbers:
            self._daemon("slurmd", "-N", f"n{node}", *conf, "-L", str(self.folder / f"log/slurmd-n{node}.log"))
        wait(lambda: self.call("sinfo", "-hN", "-tidle", "-o%N", check=False).split() == self.names, "idle nodes")

    def stop(self):
        """End all jobs, then each daemon by the number in its own file."""
        with suppress(AssertionError):
            self.call("scancel", f"--user={getpass.getuser()}", check=False)
            wait(lambda: not self.call("squeue", "-h", check=False), "an empty queue", 15)
        numbers = [self._pid(path) for path in sorted(self.folder.glob("*.pid"), reverse=True)]
        for action in (signal.SIGTERM, signal.SIGKILL):
            for number in numbers:
                with suppress(ProcessLookupError):
                    os.kill(number, action)
            with suppress(AssertionError):
                wait(lambda: not any(Path(f"/proc/{number}").exists() for number in numbers), "their end", 10)

    @property
    def names(self):
        return [f"n{node}" for node in self._numbers]

    @property
    def _numbers(self):
        return range(1, self.nodes + 1)

    def call(self, *command, check=True):
        """What one of Slurm's commands prints."""
        done = subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        assert not check or done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def jobs(self, folder):
        """Jobs in the queue that were submitted from a folder."""
        rows = [line.split("|") for line in self.call("squeue", "-h", "-o%i|%T|%k|%N|%j|%Z").splitlines()]
        return [
            Job(number, state, _rule(comment, name), node)
            for number, state, comment, node, name, where in rows
            if Path(where) == folder
        ]

    def ended(self, folder):
        """What became of the jobs that were submitted from a folder, in the order of their ends."""
        text = (self.folder / "log/jobcomp.txt").read_text() if (self.folder / "log/jobcomp.txt").exists() else ""
        rows = [dict(word.split("=", 1) for word in line.split(" ") if "=" in word) for line in text.splitlines()]
        return [row for row in rows if row.get("WorkDir") == str(folder)]

    def states(self, folder):
        """State of every job that ended, by its number; the last one where it was requeued."""
        return {row["JobId"]: row["JobState"] for row in self.ended(folder)}

    def gpus_of(self, number):
        """How many GPUs a job asked for; Slurm remembers jobs for an hour here."""
        found = re.search(r"TresPerJob=gres:gpu:(\d+)", self.call("scontrol", "show", "job", number))
        return int(found[1]) if found else 0

    def used(self, number):
        """Megabytes that the steps of a running job have held, each at most, by Slurm's own account."""
        text = self.call("sstat", "-anP", f"-j{number}", "--format=JobID,MaxRSS", check=False)
        found = re.findall(r"\|(\d+)K$", text, re.MULTILINE)
        return sum(map(int, found)) // 1024

    def _write(self):
        """slurm.conf, the nodes, the pretended GPUs, and the commands."""
        ports = _free_ports(self.nodes + 1)
        conf, nodes, gres = TEMPLATE.read_text(), [], []
        for node, port in zip(self._numbers, ports[1:], strict=True):
            size = f"CPUs={self.processors} RealMemory={self.memory} Gres=gpu:{self.gpus}"
            nodes.append(f"NodeName=n{node} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} {size}\n")
            gres += [f"NodeName=n{node} Name=gpu File={self._device(node, gpu)}\n" for gpu in range(self.gpus)]
        words = {"D": self.folder, "PORT": ports[0], "NODES": self.nodes, "MINJOBAGE": 3600, "USER": getpass.getuser()}
        for word, value in words.items():
            conf = conf.replace(f"@{word}@", str(value))
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "nodes.conf").write_text("".join(nodes))
        (self.folder / "gres.conf").write_text("".join(gres))
        # The plugin's job step drops SLURM_CONF before it calls srun: these commands say it again.
        for name in CLIENTS:
            command = self.folder / "bin" / name
            where = shutil.which(name, path=PATH)
            command.write_text(f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {where} "$@"\n')
            command.chmod(0o755)

    def _device(self, node, gpu):
        """A character device that passes for a GPU: a null device of its own, or, where we are not root, a terminal."""
        path = self.folder / "dev" / f"n{node}gpu{gpu}"
        try:
            os.mknod(path, 0o020666, os.makedev(1, 3))
        except PermissionError:
            return f"/dev/tty{gpu}"
        return path

    def _daemon(self, name, *arguments):
        done = subprocess.run(
            [shutil.which(name, path=PATH), *arguments], env=self.environment, text=True, check=False, timeout=60,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stdout)

    @staticmethod
    def _pid(path):
        return int(path.read_text())


def _rule(comment, name):
    """The rule of a job: the plugin says it in the comment, the profile for cluster-generic in the name."""
    found = re.match(r"(?:rule|group)_([a-z]+)", comment)
    return found[1] if found else name.removeprefix("sgdphases-rule-")


def _free_ports(count):
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
