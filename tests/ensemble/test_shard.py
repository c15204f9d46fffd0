import json
import subprocess
import sys

import numpy as np
import pytest

from sgdphases.ensemble.shard import Shard


def test_round_trip(build):
    shard = build.shard(count=3, running=["epoch_train_loss"], bound=100.0, sampler="reshuffle", dtype="float32")
    value = json.loads(json.dumps(shard.to_dict()))
    again = Shard.from_dict(value)
    assert again.to_dict() == value
    assert len(again) == 3
    assert again.network == shard.network
    assert again.networks["seed_task"].dtype == np.int64


def test_neutral_columns(build):
    networks = build.shard(count=2).networks
    neutral = ("momentum", "weight_decay", "noise_scale", "output_scale")
    assert {name: networks[name].tolist() for name in neutral} == {
        "momentum": [0, 0],
        "weight_decay": [0, 0],
        "noise_scale": [0, 0],
        "output_scale": [1, 1],
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampler": "sorted"}, "sampler 'sorted' is unknown"),
        ({"dtype": "float16"}, "dtype 'float16' is unknown"),
        ({"update": "newton"}, "update 'newton' is unknown"),
        ({"running": ["colour"]}, "running 'colour' is unknown"),
        ({"record_steps": [0, 5]}, "record_steps must ascend"),
        ({"record_steps": [0, 9, 9, 20]}, "record_steps must ascend"),
        ({"batch_size": 0}, "must be positive"),
        ({"colour": 1}, "colour"),
        ({"network": {"activation": "sine"}}, "activation 'sine' is unknown"),
        ({"network": {"kind": "rnn"}}, "kind 'rnn' is unknown"),
        ({"network": {"trained": [False, False, False]}}, "no layer is trained"),
        ({"network": {"bias": [False]}}, "one value for each of the 3 layers"),
        ({"columns": {"loss": ["hinge"] * 4}}, "loss 'hinge' is unknown"),
        ({"columns": {"momentum": [0.5]}}, "momentum"),
        ({"columns": {"colour": [0.5] * 4}}, "unknown columns"),
    ],
)
def test_nonsense_is_refused(build, change, message):
    with pytest.raises(ValueError, match=message):
        build.shard(**change)


def test_missing_keys_are_named(build):
    value = build.shard().to_dict()
    del value["networks"]["learning_rate"]
    with pytest.raises(ValueError, match="learning_rate"):
        Shard.from_dict(value)


def test_select(build):
    shard = build.shard(count=5)
    part = shard.select([3, 1])
    assert part.networks["seed_weights"].tolist() == [203, 201]
    assert len(shard.select(2)) == 1


def test_reading_a_shard_needs_no_torch():
    code = "import sgdphases.ensemble.shard, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
