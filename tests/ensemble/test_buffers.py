import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.ensemble.buffers import LANE, Buffer, halving_sum


@given(st.lists(st.integers(1, 9), min_size=1, max_size=3))
def test_buffer(shape):
    buffer = Buffer(tuple(shape), torch.float64, torch.device("cpu"))
    assert buffer.view.shape == tuple(shape)
    assert buffer.view.is_contiguous()
    assert len(buffer.flat) % LANE == 0
    buffer.view.fill_(1.0)
    assert buffer.flat.sum() == np.prod(shape)


@given(networks=st.integers(1, 6), width=st.integers(1, 70), seed=st.integers(0, 99))
def test_halving_sum(networks, width, seed):
    values = torch.as_tensor(np.random.default_rng(seed).standard_normal((networks, width)))
    sums = halving_sum(values)
    torch.testing.assert_close(sums, values.sum(dim=1))
    for row in range(networks):
        assert halving_sum(values[row : row + 1])[0] == sums[row]
    assert torch.equal(halving_sum(values.reshape(networks, 1, width)), sums)
