"""Jobs of one machine take different devices, or parts of one, whatever happens to them: real processes, real locks."""

import fcntl
import json
import logging
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from made_leases import lease
from sgdphases import leases
from sgdphases.devices import MEBIBYTE, Device, visible_devices
from sgdphases.leases import acquire, keep_device

TWO = "0:80000,1:80000"
PATIENCE = 30.0  # seconds after which a test has failed
VARIABLES = ("CUDA_VISIBLE_DEVICES", "SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_JOB_ID", "SGDPHASES_DEVICES")
VARIABLES += ("SGDPHASES_LEASES",)

# A job: says what it got, keeps it until its standard input ends. Its arguments: memory in MiB or "whole", and a name.
JOB = """
import logging, os, sys
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
from sgdphases.leases import keep_device
memory = None if sys.argv[1] == "whole" else int(sys.argv[1]) * 2**20
device = keep_device("auto", memory, asked_by=sys.argv[2])
assert device is None or os.environ["CUDA_VISIBLE_DEVICES"] == device
print(device, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch, tmp_path) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SGDPHASES_LEASES", str(tmp_path / "leases"))


@pytest.fixture
def job(tmp_path):
    """Start a job; all are ended with the test."""
    begun = []

    def start(memory: int | str = "whole", name: str = "job", **variables: str) -> subprocess.Popen:
        environment = os.environ | {"SGDPHASES_DEVICES": TWO} | variables
        command, pipe = [sys.executable, "-c", JOB, str(memory), name], subprocess.PIPE
        with (tmp_path / f"{name}.log").open("w") as said:
            process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, stderr=said, text=True)
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def got(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def until(fact) -> None:
    deadline = time.monotonic() + PATIENCE
    while not fact():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def waits(tmp_path: Path, name: str) -> bool:
    """Whether a job has said that it waits."""
    return "waiting for a device" in (tmp_path / f"{name}.log").read_text()


def claims(tmp_path: Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted((tmp_path / "leases").glob("*.claim"))]


def pretend(text: str) -> tuple[Device, ...]:
    return visible_devices({"SGDPHASES_DEVICES": text})[0]


def test_two_jobs_take_different_devices_and_a_third_the_one_that_is_freed(job, tmp_path):
    first, second = job(name="a"), job(name="b")
    devices = {got(first), got(second)}
    assert devices == {"0", "1"}
    third = job(name="c")
    until(lambda: waits(tmp_path, "c"))
    said = (tmp_path / "c.log").read_text()
    for holder in (first, second):
        assert f"process {holder.pid} of" in said
    assert "the whole by a (process" in said
    assert "the whole by b (process" in said
    second.stdin.close()  # ends by itself
    assert got(third) == (devices - {_leased(tmp_path, "a")}).pop() == _leased(tmp_path, "b")
    assert third.poll() is None
    assert first.poll() is None


def _leased(tmp_path: Path, name: str) -> str:
    line = next(x for x in (tmp_path / f"{name}.log").read_text().splitlines() if x.startswith("leased device"))
    return line.removeprefix("leased device ").partition(",")[0]


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_killed_holder_frees_its_device(job, tmp_path, ending):
    holder = job(name="a", SGDPHASES_DEVICES="0:80000")
    assert got(holder) == "0"
    heir = job(name="b", SGDPHASES_DEVICES="0:80000")
    until(lambda: waits(tmp_path, "b"))
    holder.send_signal(ending)
    holder.wait()
    killed = time.monotonic()
    assert got(heir) == "0"
    assert time.monotonic() - killed < 5
    assert [claim["asked_by"] for claim in claims(tmp_path)] == ["b"]


def test_a_killed_one_that_waited_is_no_longer_waited_for(job, tmp_path):
    holder, waiting = job(600, name="a", SGDPHASES_DEVICES="0:1000"), None
    assert got(holder) == "0"
    waiting = job("whole", name="b", SGDPHASES_DEVICES="0:1000")
    until(lambda: waits(tmp_path, "b"))
    small = job(300, name="c", SGDPHASES_DEVICES="0:1000")
    until(lambda: waits(tmp_path, "c"))  # it would fit, but b came first
    assert "1 before this one" in (tmp_path / "c.log").read_text()
    waiting.kill()
    assert got(small) == "0"
    assert holder.poll() is None


def test_who_came_first_is_served_first_and_other_devices_are_not_held_up(job, tmp_path):
    assert got(job(name="a", CUDA_VISIBLE_DEVICES="0")) == "0"
    queue = []
    for name in "bcd":
        queue.append(job(name=name, CUDA_VISIBLE_DEVICES="0"))
        until(lambda name=name: waits(tmp_path, name))
    assert got(job(name="other")) == "1"  # nobody before it may use that one
    order = []
    for _ in range(3):
        holder = next(claim for claim in claims(tmp_path) if claim["device"] == "0")
        os.kill(holder["process"], signal.SIGKILL)
        process = queue.pop(0)
        assert got(process) == "0"
        order.append(next(claim["asked_by"] for claim in claims(tmp_path) if claim["device"] == "0"))
    assert order == ["b", "c", "d"]


def test_small_ones_share_by_memory(job, tmp_path):
    known = {"SGDPHASES_DEVICES": "0:1000"}
    sharing = [job(400, name="a", **known), job(600, name="b", **known)]
    assert [got(process) for process in sharing] == ["0", "0"]
    third = job(1, name="c", **known)
    until(lambda: waits(tmp_path, "c"))
    assert sorted(claim["memory"] or 0 for claim in claims(tmp_path)) == [MEBIBYTE, 400 * MEBIBYTE, 600 * MEBIBYTE]
    sharing[0].kill()
    assert got(third) == "0"


def test_small_ones_spread_before_they_share(tmp_path):
    devices, known = pretend("0:1000,1:1000"), {"folder": tmp_path}
    with (
        lease(devices, 10, **known) as first,
        lease(devices, 10, **known) as second,
        lease(devices, 5, **known) as third,
    ):
        assert (first, second, third) == ("0", "1", "0")
    assert list(tmp_path.glob("*.claim")) == []


def crowd(folder: str, text: str, number: int, together, results) -> None:
    """One of many: takes and gives back a few leases, and says when it held what."""
    chance, devices = random.Random(number), pretend(text)
    together.wait(PATIENCE)
    for turn in range(2):
        memory = None if (number + turn) % 7 == 0 else chance.choice([150, 300, 350, 650]) * MEBIBYTE
        with lease(devices, memory, folder=folder, timeout=PATIENCE) as device:
            begun = time.monotonic_ns()
            time.sleep(chance.uniform(0.1, 0.2))
            results.put((device, begun, time.monotonic_ns(), memory))


def test_many_at_once_never_exceed_a_device(tmp_path):
    sizes = {"0": 1000, "1": 1000, "2": 700}
    text = ",".join(f"{name}:{size}" for name, size in sizes.items())
    context = multiprocessing.get_context("spawn")
    results, together = context.SimpleQueue(), context.Barrier(20)
    processes = [context.Process(target=crowd, args=(str(tmp_path), text, n, together, results)) for n in range(20)]
    for process in processes:
        process.start()
    held = [results.get() for _ in range(40)]
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 20
    shared = 0
    for name, size in sizes.items():
        here = [(begun, ended, memory) for device, begun, ended, memory in held if device == name]
        assert len(here) > 5
        for moment, _, _ in here:  # memory in use is greatest as one begins
            now = [memory for begun, ended, memory in here if begun <= moment < ended]
            assert len(now) == 1 or (None not in now and sum(now) <= size * MEBIBYTE), (name, now)
            shared += len(now) > 1
    assert shared > 0
    assert list(tmp_path.glob("*.claim")) == []


def test_what_a_killed_writer_leaves_blocks_nobody(tmp_path):
    whole = {"device": "0", "memory": None, "waits_for": ["0"], "asked_by": "x", "process": os.getpid()}
    (tmp_path / "00000001-dead.claim").write_text(json.dumps(whole))  # its process number lives: the lock decides
    (tmp_path / "00000002-dead.claim").write_text('{"device": "0", "mem')
    (tmp_path / "00000003-dead.claim").touch()
    (tmp_path / "guard").touch(mode=0o644)
    with lease(pretend("0:1000"), None, folder=tmp_path, timeout=0) as device:
        assert device == "0"
        assert len(list(tmp_path.glob("*.claim"))) == 1


def test_a_removed_guard_is_made_anew(tmp_path):
    devices = pretend("0:1000")
    with lease(devices, 600 * MEBIBYTE, folder=tmp_path):
        (tmp_path / "guard").unlink()
        with pytest.raises(TimeoutError, match="600 MiB by a job"), lease(devices, None, folder=tmp_path, timeout=0):
            pass
        with lease(devices, 400 * MEBIBYTE, folder=tmp_path, timeout=0) as device:
            assert device == "0"


def test_a_guard_that_is_replaced_between_opening_and_locking_is_opened_again(tmp_path, monkeypatch):
    opened = []

    def late(handle: int) -> bool:
        if not opened:
            (tmp_path / "guard").unlink()
            (tmp_path / "guard").touch()
        opened.append(os.fstat(handle).st_ino)
        return locked(handle)

    locked = leases._locked
    monkeypatch.setattr(leases, "_locked", late)
    with leases._guard(tmp_path, 0.0):
        assert len(opened) == 2
        assert opened[1] == (tmp_path / "guard").stat().st_ino


def test_a_guard_that_never_opens_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(leases, "GUARD_PATIENCE", 0.1)
    with (tmp_path / "guard").open("w") as stopped:
        fcntl.flock(stopped, fcntl.LOCK_EX)
        with pytest.raises(TimeoutError, match="guard was locked"):
            acquire(pretend("0:1000"), None, folder=tmp_path, timeout=0)


def test_waiting_ends_in_time_and_says_for_what_it_waited(tmp_path, caplog):
    devices = pretend("0:1000")
    caplog.set_level(logging.INFO)
    with lease(devices, None, folder=tmp_path, asked_by="train 0123"):
        begun = time.monotonic()
        with pytest.raises(TimeoutError, match=r"train 0123 \(process"):
            acquire(devices, 500 * MEBIBYTE, folder=tmp_path, timeout=0.5)
        assert 0.4 < time.monotonic() - begun < 5
        assert len(list(tmp_path.glob("*.claim"))) == 1
    lines = [line for line in caplog.messages if line.startswith("waiting")]
    assert len(lines) == 1
    assert "500 MiB, 0 before this one; 0 of 1000 MiB: the whole by train 0123" in lines[0]


def test_more_than_any_device_has_is_refused_at_once(tmp_path):
    with (
        pytest.raises(ValueError, match="1001 MiB of a device were asked for; there are 0: 1000 MiB, 1: 500 MiB"),
        lease(pretend("0:1000,1:500"), 1001 * MEBIBYTE, folder=tmp_path),
    ):
        pass
    with lease(pretend("1:500,0:1000"), 501 * MEBIBYTE, folder=tmp_path) as device:
        assert device == "0"


def test_a_device_of_unknown_size_is_leased_as_a_whole(tmp_path):
    part, known = (Device("MIG-1", "MIG-1", None, "MIG-1"),), {"folder": tmp_path, "timeout": 0}
    with lease(part, MEBIBYTE, **known), pytest.raises(TimeoutError), lease(part, 1, **known):
        pass


def test_a_forked_child_gives_nothing_back(tmp_path):
    devices = pretend("0:1000")
    _, claim = acquire(devices, None, folder=tmp_path)
    child = multiprocessing.get_context("fork").Process(target=claim.release)
    child.start()
    child.join()
    with pytest.raises(TimeoutError), lease(devices, 1, folder=tmp_path, timeout=0):
        pass
    claim.release()
    with lease(devices, 1, folder=tmp_path, timeout=0) as device:
        assert device == "0"


UUID = "GPU-1234f937-d72c-4106-c12f-20bd9faed9f6"


def test_one_device_has_one_key_by_number_and_by_name(tmp_path):
    by_name = visible_devices({"SGDPHASES_DEVICES": f"{UUID}:80000", "CUDA_VISIBLE_DEVICES": UUID[:12]})[0]
    again = visible_devices({"SGDPHASES_DEVICES": f"{UUID}:80000", "CUDA_VISIBLE_DEVICES": UUID})[0]
    assert by_name[0].key == again[0].key == UUID
    with lease(by_name, None, folder=tmp_path) as name:
        assert name == "GPU-1234f937"
        with pytest.raises(TimeoutError), lease(again, None, folder=tmp_path, timeout=0):
            pass


def test_nothing_to_lease_without_devices(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert visible_devices() == ((), False)
    assert keep_device("auto") is None
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")  # makes no device
    assert keep_device("cuda") is None
    assert not (tmp_path / "leases").exists()


def test_what_slurm_assigned_is_shared_by_the_processes_of_its_job_only(job, tmp_path):
    slurm = {"SLURM_JOB_GPUS": "1", "CUDA_VISIBLE_DEVICES": "0", "SGDPHASES_DEVICES": "0:80000"}
    first, other = ({"SLURM_JOB_ID": number} | slurm for number in "78")
    assert got(job(name="a", memory=70000, **first)) == "0"
    assert got(job(name="b", memory=70000, **other)) == "0"  # behind cgroups another device
    job(name="c", memory=70000, **first)
    until(lambda: waits(tmp_path, "c"))


def test_what_slurm_assigned_needs_no_list(tmp_path):
    environment = {"SLURM_JOB_ID": "7", "SLURM_JOB_GPUS": "1", "PATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "0,MIG-2"}
    assert [device.name for device in visible_devices(environment)[0]] == ["0", "MIG-2"]


def test_of_several_that_slurm_assigned_each_job_leases_one(job, tmp_path):
    slurm = {"SLURM_JOB_ID": "7", "CUDA_VISIBLE_DEVICES": "0,1"}
    assert {got(job(name=name, **slurm)) for name in "ab"} == {"0", "1"}
    job(name="c", **slurm)
    until(lambda: waits(tmp_path, "c"))


def test_a_job_on_the_processor_leases_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("SGDPHASES_DEVICES", TWO)
    assert keep_device("cpu") is None
    assert not (tmp_path / "leases").exists()


@pytest.mark.parametrize(("memory", "share"), [(20000, "0.2500"), (90000, None), (None, None)])
def test_torch_may_take_what_was_leased_and_a_job_that_is_too_large_takes_all(memory, share, tmp_path):
    program = (
        "from sgdphases.leases import keep_device as keep\n"
        "import os\n"
        f"keep('auto', {memory} and {memory} * 2**20)\n"
        "print(os.environ.get('PYTORCH_CUDA_ALLOC_CONF'))\n"
        "input()"
    )
    environment = os.environ | {"SGDPHASES_DEVICES": "0:80000", "PYTORCH_CUDA_ALLOC_CONF": "garbage_collection:0.9"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, **pipes) as process:
        more = "" if share is None else f",per_process_memory_fraction:{share}"
        assert process.stdout.readline().strip() == f"garbage_collection:0.9{more}"
        (claim,) = claims(tmp_path)
        assert claim["memory"] == (None if share is None else memory * 2**20)
        process.communicate("\n")


def test_a_process_keeps_its_device_when_it_asks_again(tmp_path):
    program = (
        "from sgdphases.leases import keep_device as keep\n"
        "import os, sys\n"
        "print(keep('cuda'), keep('auto', timeout=0), os.environ['CUDA_VISIBLE_DEVICES'])\n"
        "print(*{'torch', 'numpy', 'pydantic', 'xarray'} & set(sys.modules))"
    )
    environment = os.environ | {"SGDPHASES_DEVICES": "3:80000"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["3 3 3", ""]
    with lease(pretend("3:80000"), None, folder=tmp_path / "leases", timeout=0) as device:
        assert device == "3"
