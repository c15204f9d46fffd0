"""Which devices a job may use: those that CUDA_VISIBLE_DEVICES or Slurm say, of those that this machine has.

What the machine has is asked of nvidia-smi, or pretended by SGDPHASES_DEVICES: no torch, and no CUDA, is started.
"""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace

MEBIBYTE = 2**20
PRETENDED = "SGDPHASES_DEVICES"  # "0:80000,1:80000": names, and memory in MiB
VISIBLE = "CUDA_VISIBLE_DEVICES"
SLURM = ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS")  # the narrower first
QUERY = ("--query-gpu=index,uuid,memory.total", "--format=csv,noheader,nounits")
QUERY_SECONDS = 60.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Device:
    """A device that may be leased.

    Attributes:
        name: As CUDA_VISIBLE_DEVICES wants it.
        key: What it is called by all who lease: the same for every numbering, where the machine knows one.
        memory: Bytes in all; None where nobody says: such a device is leased as a whole only.
        index: Its number among those of the machine.
    """

    name: str
    key: str
    memory: int | None
    index: str


def visible_devices(environment: Mapping[str, str] | None = None) -> tuple[tuple[Device, ...], bool]:
    """Devices that this job may use.

    Those of CUDA_VISIBLE_DEVICES, else those that Slurm says, else all of the machine. An empty value says: none.
    Numbers follow nvidia-smi's order; where devices differ, set CUDA_DEVICE_ORDER=PCI_BUS_ID, so that CUDA's does, too.

    Args:
        environment: Variables; None for those of this process.

    Returns:
        The devices, and whether it was Slurm that assigned them.

    Raises:
        ValueError: If SGDPHASES_DEVICES cannot be read.
    """
    environment = os.environ if environment is None else environment
    present = _present(environment)
    slurm = next((environment[name] for name in SLURM if name in environment), None)
    assigned = slurm is not None or "SLURM_JOB_ID" in environment
    if VISIBLE in environment:
        if present is None and not assigned:  # a variable alone makes no device
            return (), False
        return _named(environment[VISIBLE], present), assigned
    if slurm is None:
        return present or (), False
    if present is not None and len(_words(slurm)) == len(present):
        return present, True  # a job that sees its own devices only counts them from 0, Slurm those of the machine
    return _named(slurm, present), True


def _present(environment: Mapping[str, str]) -> tuple[Device, ...] | None:
    """Devices of this machine; None where nobody can say."""
    if PRETENDED in environment:
        return _pretended(environment[PRETENDED])
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return None
    try:
        answer = subprocess.run([program, *QUERY], check=True, capture_output=True, text=True, timeout=QUERY_SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("no device is leased, since nvidia-smi does not answer: %s", error)
        return None
    rows = [[cell.strip() for cell in line.split(",")] for line in answer.stdout.splitlines()]
    return tuple(
        Device(name, name, int(memory) * MEBIBYTE if memory.isdecimal() else None, index)
        for index, name, memory in (row for row in rows if len(row) == 3 and row[0].isdecimal())
    )


def _pretended(text: str) -> tuple[Device, ...]:
    """Devices of SGDPHASES_DEVICES."""
    pairs = [word.rpartition(":") for word in _words(text)]
    names = [name.strip() for name, _, _ in pairs]
    good = all(re.fullmatch(r"\s*0*[1-9][0-9]*\s*", size) for _, _, size in pairs)
    if not good or not all(names) or len(set(names)) < len(names):
        wanted = "different names, each with its memory in MiB, such as 0:80000,1:80000"
        raise ValueError(f"{PRETENDED} is {text!r}, but must be {wanted}")
    sizes = [int(size) * MEBIBYTE for _, _, size in pairs]
    return tuple(
        Device(name, name, size, name if name.isdecimal() else str(place))
        for place, (name, size) in enumerate(zip(names, sizes, strict=True))
    )


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")] if text.strip() else []


def _named(text: str, present: tuple[Device, ...] | None) -> tuple[Device, ...]:
    """Devices that a list names, up to the first that is none, as CUDA reads it; named as they were there."""
    found: dict[str, Device] = {}
    for word in _words(text):
        device = _device_of(word, present)
        if device is None:
            log.info("device %r of %r is unknown; it and those after it are not used", word, text)
            break
        found.setdefault(device.key, device)
    return tuple(found.values())


def _device_of(word: str, present: tuple[Device, ...] | None) -> Device | None:
    """The device of one word: a number, the beginning of a UUID, or the name of a part (MIG) that no list shows."""
    unseen = Device(word, word, None, word)
    if present is None:
        return unseen if word.isdecimal() or word.startswith(("GPU-", "MIG-")) else None
    known = [device for device in present if word in (device.index, device.key)]
    if not known and word.startswith(("GPU-", "MIG-")):
        known = [device for device in present if device.key.startswith(word)]
    if len(known) == 1:
        return replace(known[0], name=word)
    return unseen if not known and word.startswith("MIG-") else None
