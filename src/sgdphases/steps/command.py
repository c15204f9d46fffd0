"""How every step begins: arguments parsed, logging to stderr, the command to repeat it first, a device of its own."""

import argparse
import logging
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from sgdphases.devices import MEBIBYTE
from sgdphases.leases import keep_device
from sgdphases.provenance import fingerprint
from sgdphases.steps import guard
from sgdphases.tracking.address import shown
from sgdphases.tracking.spool import Spool


def begin(rule: str, parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of a step and start its log; a step that takes a device leases one (`sgdphases.leases`).

    Args:
        rule: The rule's and step's name.
        parser: What the step takes.
        argv: Arguments without the program's name; None for the command line's.

    Returns:
        The parsed arguments.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    arguments = sys.argv[1:] if argv is None else list(argv)
    command = shlex.join([sys.executable, "-m", f"sgdphases.steps.{rule}", *arguments])
    logging.info("repeat with: %s", shown(command))
    places = parser.get_default("device") is not None
    if places:
        text = "MiB of a device that the job may use, so that several share one; all of it if not given"
        parser.add_argument("--device-memory", type=int, metavar="MIB", help=text)
    parsed = parser.parse_args(arguments)
    guard.enter(rule, parsed)
    if places:
        # Before torch is imported: CUDA looks once for the devices that it may see.
        memory = None if parsed.device_memory is None else parsed.device_memory * MEBIBYTE
        keep_device(parsed.device, memory, asked_by=rule)
    return parsed


@contextmanager
def events(path: str | None, experiment: str, rule: str, key: str, *, dataset: str = "") -> Iterator[Any]:
    """Open the spool of a job; when the block has ended well, vouch for what the step has written (`steps.guard`).

    Args:
        path: The spool; None for none.
        experiment: The experiment's name.
        rule: The rule's and step's name.
        key: What tells the job from others of its rule.
        dataset: As for `fingerprint`.

    Yields:
        The spool, or what takes every event and keeps none.
    """
    job = {"experiment": experiment, "rule": rule, "key": key}
    spool = nullcontext(_Silent()) if path is None else Spool(path, **job, code=fingerprint(rule, dataset))
    with guard.finishing(), spool as diary:
        yield diary


class _Silent:
    """Takes every event and keeps none."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
