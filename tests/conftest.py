"""What all tests share: one thread each, no tracking but their own, and a way to say "alone" and "mirror"."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Set before numpy or torch is imported by any test; subprocesses inherit it. Two test workers share two cores.
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
# No device is leased, and none is waited for, unless a test pretends some.
os.environ["SGDPHASES_DEVICES"] = ""
# A developer's own settings must not decide what a test does.
for _name in ("MLFLOW_TRACKING_URI", "SNAKEMAKE_PROFILE", "PYTHONPATH"):
    os.environ.pop(_name, None)

# A shell script's background ignores SIGINT, and so does all that is started there: tests that send it would wait.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("local", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "local")

MIRROR = "SGDPHASES_MIRROR"
REQUIRE_MIRROR = "SGDPHASES_REQUIRE_MIRROR"


def local_mirror() -> Path:
    """Folder of the data mirror, or a skip that names the variable to set."""
    value = os.environ.get(MIRROR, "")
    folder = Path(value.removeprefix("file://"))
    if not value or not folder.is_dir():
        pytest.skip(f"{MIRROR} does not name a folder (with fashion-mnist/ and tiny-imagenet/ in it)")
    return folder


@pytest.fixture
def mirror() -> Path:
    """Folder of the data mirror; the test is skipped where there is none."""
    return local_mirror()


@pytest.fixture
def float64() -> Iterator[None]:
    """Torch makes float64 tensors by default in this test."""
    import torch

    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Give every test torch with one thread, whatever the test before it asked for."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.get_num_threads() != 1:
        torch.set_num_threads(1)
    yield


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test that is marked `mirror` where there is no mirror."""
    if item.get_closest_marker("mirror"):
        local_mirror()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that have slow tests, so that no worker is left alone with them at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[Any]:
    """Where the mirror is required, a test that was skipped for want of it has failed."""
    return _judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Iterator[Any]:
    """The same for a whole file that skips itself."""
    return _judged((yield))


def _judged(report: Any) -> Any:
    if report.skipped and os.environ.get(REQUIRE_MIRROR) and MIRROR in str(report.longrepr):
        report.outcome = "failed"
        report.longrepr = f"{REQUIRE_MIRROR} is set, yet this was skipped: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Tests take turns where one of them is marked `alone`: it waits for the others, and they wait for it."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    import fcntl

    folder = item.config.cache.mkdir("turns")
    with open(folder / "door", "a") as door, open(folder / "room", "a") as room:
        # Whoever waits for the room holds the door, so that nobody slips in before a test that wants to be alone.
        fcntl.flock(door, fcntl.LOCK_EX)
        fcntl.flock(room, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
        fcntl.flock(door, fcntl.LOCK_UN)
        return (yield)
