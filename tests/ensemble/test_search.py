"""The search: what it tries against a plain walk, where it puts the edges, and the bits of the full rectangle."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sgdphases.ensemble.search import Outcome, Search, Strip, Trial, Verdict, conduct, first_guess, next_place
from sgdphases.ensemble.shard import SearchSettings
from sgdphases.ensemble.status import CRITERIA, NONE, UNTRIED, constant_losses, edges
from sgdphases.ensemble.trainer import train

STATUSES = st.lists(st.integers(0, 3), min_size=1, max_size=24)
VERDICTS = st.builds(
    lambda status, calm, loss: Verdict(status, calm and status in (1, 2), loss),
    st.integers(0, 3),
    st.booleans(),
    st.floats(0, 1),
)


def released_walk(status, start, below):
    """As the released driver has it: down, forgetting what was found whenever a run is not finite."""
    tried, kept = [], []
    for place in range(start, -1, -1):
        tried.append(place)
        if status[place] == 0:
            kept.clear()
            continue
        if status[place] >= 2 or kept:
            kept.append(place)
        if len(kept) > below:
            break
    return tried


def walk(status, start, below):
    """What the search tries where these are the answers."""
    known, tried = np.full(len(status), UNTRIED), []
    while (place := next_place(known, start, below)) is not None:
        assert known[place] == UNTRIED
        known[place] = status[place]
        tried.append(place)
    return tried


@given(STATUSES, st.integers(0, 12), st.data())
def test_the_way_down(status, below, data):
    start = data.draw(st.integers(0, len(status) - 1))
    assert walk(status, start, below) == released_walk(status, start, below)


@pytest.mark.parametrize(
    ("status", "below", "tried"),
    [
        ([2, 2, 2, 2, 2], 2, 3),  # the top of the lattice has learned already
        ([0, 0, 0, 0, 0], 2, 5),  # all diverge: to the lattice's end
        ([1, 1, 1, 1, 1], 2, 5),  # none learns: the same
        ([2, 2, 2, 1, 0], 1, 4),
        ([2, 2, 2, 0, 2, 0], 2, 6),  # an island: the search begins anew under it
        ([2, 2, 2, 2, 1, 3], 2, 3),  # what learns nothing under an island does not
        ([2, 2, 2], 0, 1),
    ],
)
def test_where_it_ends(status, below, tried):
    assert len(walk(status, len(status) - 1, below)) == tried


@pytest.mark.parametrize(
    ("highest", "below", "start", "cells"),
    [(0.0, 1.0, 4, 4), (-1e-9, 1.0, 4, 4), (-0.01, 0.99, 3, 3), (9, 0.2, 8, 0), (-9, 0.25, 0, 1)],
)
def test_a_strip_on_its_lattice(highest, below, start, cells):
    rates = [float(f"{10 ** (0.25 * place):.12g}") for place in range(-4, 5)]
    strip = Strip(range(9), rates, highest, below)
    assert (strip.start, strip.below) == (start, cells)


def test_a_strip_of_one_network():
    strip = Strip([7], [0.1], 0.0, 1.0)
    assert strip.asks(0.01) == [Trial(7, 0.1)]
    strip.note(0.1, Verdict(2, True, 0.0))
    assert strip.asks(0.01) == []
    assert strip.bracket(0, 0.01)[0] == 7


@pytest.mark.parametrize(
    ("richness", "layers", "loss", "power"),
    [
        (0.1, 3, "mean_squared_error", 2),
        (10.0, 3, "mean_squared_error", 2 / 3),
        (10.0, 2, "half_squared_error", 1),
        (0.1, 3, "cross_entropy", 1),
        (10.0, 4, "cross_entropy", 0.5),
    ],
)
def test_first_guess(richness, layers, loss, power):
    assert first_guess(richness, layers, loss) == pytest.approx(richness**power)


class Oracle:
    """An answer for every learning rate: a made one on the lattice, between its values one drawn when first asked."""

    def __init__(self, draw, lattice, answers):
        self.draw, self.known = draw, dict(zip(lattice, answers, strict=True))
        self.asked = []

    def __call__(self, rate):
        self.asked.append(rate)
        if rate not in self.known:
            self.known[rate] = self.draw(VERDICTS)
        return self.known[rate]


@given(st.lists(VERDICTS, min_size=1, max_size=16), st.integers(0, 6), st.sampled_from([None, 0.1, 0.02]), st.data())
def test_edges_are_bracketed(answers, below, refine, data):
    """Whatever the answers, islands between the lattice's values included."""
    lattice = [10 ** (0.25 * place) for place in range(len(answers))]
    strip, oracle = Strip(range(len(answers)), lattice, 99, 0.25 * below), Oracle(data.draw, lattice, answers)
    while trials := strip.asks(refine):
        assert len({trial.learning_rate for trial in trials}) == len(trials) <= len(CRITERIA)
        for trial in trials:
            strip.note(trial.learning_rate, oracle(trial.learning_rate))
    assert len(set(oracle.asked)) == len(oracle.asked)
    tried = released_walk([answer.status for answer in answers], len(answers) - 1, below)
    assert [place for place in range(len(answers)) if strip.status[place] != UNTRIED] == sorted(tried)
    places = edges(strip.status, strip.calm, strip.loss)
    for criterion in range(len(CRITERIA)):
        row, good, bad, wanted = strip.bracket(criterion, refine)
        last, above = places[criterion].tolist()
        assert (row, wanted) == (last, None)
        assert (row == NONE) == math.isnan(good)
        assert (above == NONE) == math.isnan(bad)
        if row != NONE:
            assert oracle(good).good(criterion)
            assert lattice[last] <= good
        if above != NONE:
            assert not oracle(bad).good(criterion)
            assert good < bad <= lattice[above] * (1 + 1e-12)
            assert math.log10(bad / good) <= (refine or 0.25) * (1 + 1e-5)


@given(st.floats(-0.9, 2.9), st.sampled_from([0.1, 0.02, 0.005]))
def test_one_edge_is_found_where_it_is(edge, refine):
    lattice = [10 ** (0.25 * place) for place in range(-4, 13)]
    strip = Strip(range(len(lattice)), lattice, 99, 0.5)
    rounds = 0
    while trials := strip.asks(refine):
        rounds += 1
        for _, rate in trials:
            strip.note(rate, Verdict(2, True, 0.1) if math.log10(rate) <= edge else Verdict(0, False, math.nan))
    for criterion in range(len(CRITERIA)):
        _, good, bad, _ = strip.bracket(criterion, refine)
        assert math.log10(good) <= edge < math.log10(bad)
    assert len(strip.probes) == math.ceil(math.log2(0.25 / refine))  # the three edges are one, and so is every probe
    assert rounds == len(strip.probes) + int((strip.status != UNTRIED).sum())


# With real networks.


RATES = [float(f"{10 ** (0.5 * place):.12g}") for place in range(-5, 8)]
RUNNING = ["batch_loss", "test_loss", "test_accuracy", "mean_coupling"]


def searched(build, rng=None, **changes):
    """A shard of two richnesses, two losses and two replicas, its rows in any order, and its tasks."""
    cells = list(itertools.product((1.0, 4.0), ("mean_squared_error", "half_squared_error"), (0, 1), RATES))
    if rng is not None:
        rng.shuffle(cells)
    richness, loss, replica, rates = (list(column) for column in zip(*cells, strict=True))
    columns = {
        "richness": richness,
        "loss": loss,
        "replica": replica,
        "learning_rate": rates,
        "init_scale": [1.0] * len(cells),
        "seed_task": [100 + number for number in replica],
        "seed_weights": [200 + number for number in replica],
        "seed_order": [300 + number for number in replica],
        "seed_noise": [0] * len(cells),
    }
    shard = build.shard(
        (3, 16, 2), len(cells), steps=60, record_steps=[0, 7, 60], columns=columns, running=RUNNING,
        network={"activation": "relu"}, search={"above": 2.5, "below": 1.0, "refine": 0.1, **changes},
    )  # fmt: skip
    return shard, build.tasks(shard)


def trained(shard, tasks, threads=1):
    records = []
    state = train(shard, tasks, device="cpu", threads=threads, on_record=records.append)
    return Outcome.of([record.scalars for record in records], state.arrays, state.diverged_at)


def found(shard, tasks, threads=1):
    search = Search(shard, constant_losses(shard.networks, tasks))
    conduct(search, lambda number, part: trained(part, tasks, threads))
    return search


@pytest.fixture(scope="module")
def whole(build):
    """A search, and the same shard with every network trained."""
    shard, tasks = searched(build)
    return found(shard, tasks), trained(shard, tasks)


def test_what_was_tried_has_the_bits_of_the_full_rectangle(whole):
    search, rectangle = whole
    tried = search.tried == 1
    assert 40 < tried.sum() < len(tried) - 8
    assert (search.diverged_at[tried] > 0).sum() > 8
    for name, values in rectangle.scalars.items():
        assert np.array_equal(search.scalars[name][:, tried], values[:, tried], equal_nan=True)
        assert np.isnan(search.scalars[name][:, ~tried]).all()
    assert np.array_equal(search.whole["batch_loss"][tried], rectangle.whole["batch_loss"][tried], equal_nan=True)
    assert search.whole["batch_loss"].dtype == rectangle.whole["batch_loss"].dtype
    assert np.array_equal(search.diverged_at[tried], rectangle.diverged_at[tried])
    assert (search.diverged_at[~tried] == -1).all()


def test_brackets_lie_at_the_last_good_networks_of_all_strips(whole):
    search, rectangle = whole
    columns, brackets = search.shard.networks, search.brackets
    assert len(search.strips) == 8
    ends = np.isfinite(brackets[..., 1])
    assert ends.sum() >= 20
    assert (brackets[..., 0] < brackets[..., 1])[ends].all()
    widths = np.log10(brackets[..., 1] / brackets[..., 0])[ends]
    assert (widths <= 0.1 + 1e-6).all()
    low = np.broadcast_to(columns["learning_rate"][:, None], ends.shape)[ends]
    assert (low <= brackets[..., 0][ends]).all()
    assert (brackets[..., 1][ends] <= low * 10**0.5 * (1 + 1e-9)).all()
    for strip in search.strips:
        rates = np.array(strip.rates)
        finite = rectangle.diverged_at[strip.rows] < 0
        assert np.isfinite(brackets[strip.rows, 0, 0]).sum() == 1
        assert rates[finite & (strip.status != UNTRIED)].max() == rates[np.isfinite(brackets[strip.rows, 0, 0])]


def test_both_sides_of_a_bracket_are_what_they_say(build, whole):
    """Networks with just these learning rates, trained by themselves."""
    search, _ = whole
    shard, brackets = search.shard, search.brackets
    rows = np.flatnonzero(np.isfinite(brackets[:, 0, 1]))
    for side, finite in ((0, True), (1, False)):
        part = shard.select(rows)
        part = replace(part, networks=part.networks | {"learning_rate": brackets[rows, 0, side]}, search=None)
        outcome = trained(part, build.tasks(part))
        assert ((outcome.diverged_at < 0) == finite).all()


@pytest.mark.parametrize("threads", [1, 2])
def test_order_of_rows_and_threads_do_not_matter(build, whole, threads):
    search, _ = whole
    shard, tasks = searched(build, np.random.default_rng(threads))
    other = found(shard, tasks, threads)
    keys = [
        sorted(range(len(s)), key=lambda row, s=s: tuple(s.networks[name][row] for name in KEY))
        for s in (search.shard, shard)
    ]
    assert np.array_equal(search.tried[keys[0]], other.tried[keys[1]])
    assert np.array_equal(search.brackets[keys[0]], other.brackets[keys[1]], equal_nan=True)
    losses = [one.whole["batch_loss"][rows] for one, rows in zip((search, other), keys, strict=True)]
    assert np.array_equal(*losses, equal_nan=True)


KEY = ("richness", "loss", "replica", "learning_rate")


def test_strips_do_not_know_of_each_other(build, whole):
    search, _ = whole
    rows = search.strips[5].rows
    shard = search.shard.select(rows)
    alone = found(shard, build.tasks(shard))
    assert np.array_equal(alone.tried, search.tried[rows])
    assert np.array_equal(alone.brackets, search.brackets[rows], equal_nan=True)


def test_without_refinement_the_lattice_brackets(build):
    shard, tasks = searched(build, refine=None)
    search = found(shard, tasks)
    ends = np.isfinite(search.brackets[..., 1])
    assert ends.sum() >= 20
    np.testing.assert_allclose(search.brackets[..., 1][ends], search.brackets[..., 0][ends] * 10**0.5)
    assert all(strip.probes == {} for strip in search.strips)


def test_a_shard_says_how_it_is_searched(build):
    shard, _ = searched(build)
    assert shard.search == SearchSettings(2.5, 1.0, 0.1)
    again = type(shard).from_dict(shard.to_dict())
    assert again.search == shard.search
    assert "search" not in build.shard((3, 2), 3).to_dict()
    with pytest.raises(ValueError, match="a search needs test_loss and batch_loss in running"):
        build.shard((3, 2), 3, search={"above": 1, "below": 1})
    with pytest.raises(ValueError, match="below"):
        build.shard((3, 2), 3, search={"above": 1}, running=RUNNING)


def test_a_learning_rate_stands_once_in_a_strip(build):
    shard, tasks = searched(build)
    twice = shard.select([0, 0, 1])
    with pytest.raises(ValueError, match="the same learning rate"):
        Search(twice, constant_losses(twice.networks, tasks))


@settings(max_examples=20)
@given(st.data())
def test_outcomes_survive_their_file(data):
    networks = data.draw(st.integers(1, 4))
    outcome = Outcome(
        {"test_loss": np.ones((3, networks))}, {"batch_loss": np.zeros((networks, 5))}, np.arange(networks)
    )
    again = Outcome.from_arrays({**outcome.arrays(), "learning_rate": np.ones(networks)})
    assert again.scalars.keys() == {"test_loss"}
    assert again.whole.keys() == {"batch_loss"}
    assert np.array_equal(again.diverged_at, outcome.diverged_at)
