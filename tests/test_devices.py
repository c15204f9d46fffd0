"""Which devices are a job's: pretended ones, those of nvidia-smi, and what CUDA's and Slurm's variables say of them."""

from pathlib import Path

import pytest

from sgdphases.devices import MEBIBYTE, visible_devices

UUIDS = ("GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-1234f937-d72c-4106-c12f-20bd9faed9f6")
PRETENDED = f"{UUIDS[0]}:80000,{UUIDS[1]}:80000"


@pytest.mark.parametrize(
    ("variables", "names", "assigned"),
    [
        ({}, ["0", "1", "2"], False),
        ({"CUDA_VISIBLE_DEVICES": "2,0"}, ["2", "0"], False),
        ({"CUDA_VISIBLE_DEVICES": "1"}, ["1"], False),
        ({"CUDA_VISIBLE_DEVICES": ""}, [], False),
        ({"CUDA_VISIBLE_DEVICES": "-1"}, [], False),
        ({"CUDA_VISIBLE_DEVICES": "NoDevFiles", "SLURM_JOB_ID": "7"}, [], True),
        ({"CUDA_VISIBLE_DEVICES": "0,7,1"}, ["0"], False),  # as CUDA reads it
        ({"CUDA_VISIBLE_DEVICES": "0,0"}, ["0"], False),
        ({"CUDA_VISIBLE_DEVICES": "MIG-GPU-89/1/2"}, ["MIG-GPU-89/1/2"], False),
        ({"CUDA_VISIBLE_DEVICES": "1", "SLURM_JOB_ID": "7"}, ["1"], True),
        ({"SLURM_JOB_GPUS": "1,2"}, ["1", "2"], True),
        ({"SLURM_JOB_GPUS": "1,2", "SLURM_STEP_GPUS": "2"}, ["2"], True),
        ({"SLURM_JOB_GPUS": "5,6,7"}, ["0", "1", "2"], True),  # the job sees its own three, counted from 0
        ({"SLURM_JOB_GPUS": ""}, [], True),
        ({"SLURM_JOB_ID": "7"}, ["0", "1", "2"], False),  # Slurm that knows nothing of devices
        ({"SGDPHASES_DEVICES": ""}, [], False),
        ({"SGDPHASES_DEVICES": PRETENDED, "CUDA_VISIBLE_DEVICES": "1,GPU-8932f937"}, ["1", "GPU-8932f937"], False),
    ],
)
def test_the_devices_of_a_job(variables, names, assigned):
    environment = {"SGDPHASES_DEVICES": "0:1000,1:1000,2:1000"} | variables
    devices, by_slurm = visible_devices(environment)
    assert [device.name for device in devices] == names
    assert by_slurm == assigned


def nvidia_smi(folder: Path, script: str) -> dict[str, str]:
    """A program of that name that stands first in the path."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}:/usr/bin:/bin"}


def test_nvidia_smi_is_asked(tmp_path):
    lines = f"0, {UUIDS[0]}, 81559\\n1, {UUIDS[1]}, [N/A]\\n"
    known = nvidia_smi(tmp_path, f'test "$1" = --query-gpu=index,uuid,memory.total && printf "{lines}"')
    first, second = visible_devices(known)[0]
    assert (first.name, first.key, first.memory, first.index) == (UUIDS[0], UUIDS[0], 81559 * MEBIBYTE, "0")
    assert (second.memory, second.index) == (None, "1")
    (chosen,), assigned = visible_devices(known | {"CUDA_VISIBLE_DEVICES": "0"})
    assert (chosen.name, chosen.key, assigned) == ("0", UUIDS[0], False)


def test_a_failing_nvidia_smi_is_no_device(tmp_path, caplog):
    assert visible_devices(nvidia_smi(tmp_path, "exit 9")) == ((), False)
    assert "nvidia-smi does not answer" in caplog.text


@pytest.mark.parametrize("text", ["0", "0:", ":80000", "0:big", "0:-1", "0:0", "0:1.5", "0:1,0:1", "0:1,,1:1", ","])
def test_bad_pretended_devices_meet_one_clear_error(text):
    with pytest.raises(ValueError, match="SGDPHASES_DEVICES is .* such as 0:80000,1:80000"):
        visible_devices({"SGDPHASES_DEVICES": text})
