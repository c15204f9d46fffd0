import csv
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sgdphases.claims.claim import COLUMNS
from sgdphases.steps.grade import write_rows
from sgdphases.steps.ledger import chosen, main


def row(claim="dyson-06", verdict="pass", steps=100_000, replicas=10, experiment="dyson_quick", **rest):
    measured = "" if verdict == "not_measured" else "0.99"
    values = {"claim": claim, "verdict": verdict, "steps": str(steps), "replicas": str(replicas)}
    return dict.fromkeys(COLUMNS, "") | values | {"measured": measured, "experiment": experiment} | rest


@pytest.mark.parametrize(("first", "second"), [("pass", "fail"), ("fail", "pass")])
def test_the_longest_schedule_counts_whatever_its_verdict(first, second):
    short, long = (
        row(verdict=first, steps=10**5, replicas=100),
        row(verdict=second, steps=10**6, experiment="dyson_medium"),
    )
    for order in itertools.permutations([short, long]):
        assert chosen(order) == [long]


@pytest.mark.parametrize(("first", "second"), [("pass", "fail"), ("fail", "pass")])
def test_then_most_replicas_count_whatever_the_verdict(first, second):
    few, many = row(verdict=first, experiment="z"), row(verdict=second, replicas=100, experiment="a")
    for order in itertools.permutations([few, many]):
        assert chosen(order) == [many]


def test_what_was_measured_goes_before_what_was_not():
    measured, longer = row(verdict="fail"), row(verdict="not_measured", steps=10**8)
    assert chosen([longer, measured]) == [measured]
    assert chosen([longer]) == [longer]


rows = st.lists(
    st.builds(
        row,
        claim=st.sampled_from(["dyson-01", "dyson-01.2", "dyson-10"]),
        verdict=st.sampled_from(["pass", "fail", "not_measured"]),
        steps=st.sampled_from([10**5, 10**6]),
        replicas=st.sampled_from([10, 100]),
        experiment=st.sampled_from(["dyson_quick", "dyson_medium", "dyson_batch"]),
    ),
    max_size=12,
    unique_by=lambda r: (r["claim"], r["experiment"]),
)


@given(rows, st.randoms(use_true_random=False))
def test_neither_order_nor_verdict_decides(found, random):
    kept = chosen(found)
    assert len({r["claim"] for r in kept}) == len(kept)
    assert {r["claim"] for r in kept} == {r["claim"] for r in found}
    shuffled = found.copy()
    random.shuffle(shuffled)
    assert chosen(shuffled) == kept
    turned = {"pass": "fail", "fail": "pass", "not_measured": "not_measured"}
    other = chosen(r | {"verdict": turned[r["verdict"]]} for r in found)
    assert [(r["claim"], r["experiment"]) for r in other] == [(r["claim"], r["experiment"]) for r in kept]


def test_claims_are_ordered_by_number():
    names = ["dyson-10", "dyson-02.10", "dyson-02", "dyson-02.2", "dyson-01"]
    assert [r["claim"] for r in chosen(map(row, names))] == [
        "dyson-01",
        "dyson-02",
        "dyson-02.2",
        "dyson-02.10",
        "dyson-10",
    ]


def test_step_reads_named_files_and_those_of_earlier_runs(tmp_path):
    for name, steps, verdict in (("dyson_quick", 10**5, "pass"), ("dyson_medium", 10**6, "fail")):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "claims.csv", [row(verdict=verdict, steps=steps, experiment=name)])
    ledger = tmp_path / "claims.csv"
    main(
        [
            "--results",
            str(tmp_path),
            "--ledger",
            str(ledger),
            "--page",
            str(ledger.with_suffix(".md")),
            str(tmp_path / "dyson_quick" / "claims.csv"),
        ]
    )
    with ledger.open(newline="", encoding="utf-8") as stream:
        (kept,) = csv.DictReader(stream)
    assert (kept["experiment"], kept["verdict"]) == ("dyson_medium", "fail")
    assert list(kept) == list(COLUMNS)


def test_of_those_not_measured_the_nearest_one_tells_why():
    reasons = ["undecided: +0.1", "needs 10 replicas, has 5 (so far 0.8 ± 0.1)", "needs learning_rate 0.02"]
    rows = [row(verdict="not_measured", steps=10**place, reason=reason) for place, reason in enumerate(reasons, 3)]
    for count in (3, 2, 1):
        for order in itertools.permutations(rows[-count:]):
            assert chosen(order)[0]["reason"] == reasons[-count]
