import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.ensemble.sampler import Sampler


@given(samples=st.integers(1, 60), batch_size=st.integers(1, 9), seed=st.integers(0, 2**62), epoch=st.integers(0, 5))
def test_every_epoch_shows_samples_once(samples, batch_size, seed, epoch):
    if samples < batch_size:
        with pytest.raises(ValueError, match="do not fill"):
            Sampler("reshuffle", samples, batch_size, 1)
        return
    for word in ("fixed_order", "fixed_shuffle", "reshuffle"):
        order = Sampler(word, samples, batch_size, 1).order(seed, epoch)
        assert order.shape == (samples // batch_size, batch_size)
        assert len(set(order.flat)) == order.size
        assert order.min() >= 0
        assert order.max() < samples


def test_orders():
    fixed = Sampler("fixed_order", 10, 3, 1)
    assert fixed.order(0, 0).tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert np.array_equal(fixed.order(0, 0), fixed.order(7, 3))
    for word in ("reshuffle", "with_replacement"):
        sampler = Sampler(word, 1000, 10, 1)
        orders = [sampler.order(seed, epoch) for seed in (1, 2) for epoch in (0, 1)]
        assert all(not np.array_equal(a, b) for i, a in enumerate(orders) for b in orders[:i])
        assert np.array_equal(sampler.order(2, 1), orders[-1])
    assert len(np.unique(Sampler("with_replacement", 1000, 10, 1).order(1, 0))) < 700


def test_a_shuffle_can_stay():
    kept = Sampler("fixed_shuffle", 1000, 10, 1)
    np.testing.assert_array_equal(kept.order(5, 0), kept.order(5, 7))
    assert not np.array_equal(kept.order(5, 0), kept.order(6, 0))
    assert not np.array_equal(kept.order(5, 0), Sampler("fixed_order", 1000, 10, 1).order(5, 0))


@given(samples=st.integers(1, 60), batch_size=st.integers(1, 9), epoch=st.integers(0, 3))
def test_a_kept_last_batch_shows_every_sample(samples, batch_size, epoch):
    if samples < batch_size:
        return
    for word in ("fixed_order", "fixed_shuffle", "reshuffle"):
        sampler = Sampler(word, samples, batch_size, 1, keep_last=True)
        order = sampler.order(3, epoch)
        assert sampler.batches == -(-samples // batch_size) == len(order)
        assert sampler.rest == samples % batch_size
        shown = order.ravel()[:samples]
        assert sorted(shown.tolist()) == list(range(samples))
        assert set(order.ravel()[samples:]) <= set(range(samples))
        if not sampler.rest:
            assert np.array_equal(order, Sampler(word, samples, batch_size, 1).order(3, epoch))


def test_one_pass_is_one_pass():
    assert Sampler("one_pass", 12, 4, 3).order(5, 0).tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    with pytest.raises(ValueError, match="has 3 batches, not 4"):
        Sampler("one_pass", 12, 4, 4)


def test_one_pass_trains(build):
    shard = build.shard((3, 4, 1), 2, steps=10, sampler="one_pass")
    fixed = build.shard((3, 4, 1), 2, steps=10)
    tasks = build.tasks(shard)
    assert np.array_equal(build.train(shard, tasks)[1][-1].weights[0], build.train(fixed, tasks)[1][-1].weights[0])
