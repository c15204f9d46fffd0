"""How a step begins: it leases a device before anything can look for one, and says so in its log."""

import subprocess
import sys

import pytest

STEP = """
import argparse, os, sys
from sgdphases.steps.command import begin
parser = argparse.ArgumentParser()
{more}
parsed = begin("words", parser, sys.argv[1:])
assert "torch" not in sys.modules
print(os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ.get("PYTORCH_CUDA_ALLOC_CONF"))
"""
DEVICE = "parser.add_argument('--device', default='auto')"


def step(tmp_path, *words, more=DEVICE, devices="0:80000,1:80000"):
    """What a step that begins with these words sees, and its log."""
    environment = {"PATH": "/usr/bin:/bin", "SGDPHASES_DEVICES": devices, "SGDPHASES_LEASES": str(tmp_path / "leases")}
    return subprocess.run(
        [sys.executable, "-c", STEP.format(more=more), *words],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "seen"),
    [
        ((), "0 None"),
        (("--device", "cuda"), "0 None"),
        (("--device", "cpu"), "None None"),
        (("--device-memory", "20000"), "0 per_process_memory_fraction:0.2500"),
        (("--device-memory", "20000", "--device", "cpu"), "None None"),
    ],
)
def test_a_step_that_takes_a_device_leases_one(words, seen, tmp_path):
    done = step(tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == seen
    assert ("leased device 0" in done.stderr) == (seen != "None None")


def test_a_step_without_a_device_leases_none(tmp_path):
    done = step(tmp_path, more="")
    assert done.stdout.strip() == "None None"
    assert not (tmp_path / "leases").exists()


def test_a_machine_without_devices_is_left_as_it_is(tmp_path):
    assert step(tmp_path, devices="").stdout.strip() == "None None"


def test_devices_that_cannot_be_read_end_the_step_with_a_word(tmp_path):
    done = step(tmp_path, devices="0")
    assert done.returncode == 1
    assert "SGDPHASES_DEVICES is '0', but must be" in done.stderr
