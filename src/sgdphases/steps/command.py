"""How every step begins: arguments parsed, logging to stderr, the command to repeat it on the first line."""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from sgdphases.provenance import fingerprint
from sgdphases.tracking.address import shown
from sgdphases.tracking.spool import Spool


def begin(rule: str, parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments of a step and start its log.

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
    return parser.parse_args(arguments)


def events(path: str | None, experiment: str, rule: str, key: str, *, dataset: str = "") -> AbstractContextManager[Any]:
    """The spool of one job, or a silent stand-in where no spool was asked for; `dataset` as for `fingerprint`."""
    if path is None:
        return nullcontext(_Silent())
    return Spool(path, experiment=experiment, rule=rule, key=key, code=fingerprint(rule, dataset))


class _Silent:
    """Takes every event and keeps none."""

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **kwargs: None
