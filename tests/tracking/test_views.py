"""Saved views name what the runs carry, and stay the same when nothing changed."""

import json

from sgdphases.tracking.runs import JOB, POINT, Run
from sgdphases.tracking.views import PREFIX, varying, views


def point(rate: str, scale: str = "1", **more) -> Run:
    metrics = {("log10_learning_rate", 0): -1.0, ("overlap", 0): 0.5, ("overlap_sd", 0): 0.1, ("train_loss", 0): 1.0}
    params = {"learning_rate": rate, "init_scale": scale, "batch_size": "4"}
    return Run(
        kind=POINT, experiment="toy", key=rate + scale, name="", start=0, params=params, metrics=metrics,
        tags={"phase": "ferro"}, **more,
    )  # fmt: skip


def state(found: dict[str, str], word: str) -> dict:
    view = json.loads(found[PREFIX + word])
    assert isinstance(view["name"], str)
    assert isinstance(view["createdAt"], int)
    return json.loads(view["state"])


def test_a_plane_is_drawn_over_its_two_axes():
    found = views([point(rate, scale) for rate in ("0.1", "1") for scale in ("1", "2")])
    grid = state(found, "grid")
    assert set(found) == {PREFIX + "grid"}
    assert grid["selectedColumns"] == [
        "params.`learning_rate`", "params.`init_scale`", "tags.`phase`", "metrics.`overlap`", "metrics.`train_loss`",
    ]  # fmt: skip
    sections = {section["uuid"] for section in grid["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in grid["compareRunCharts"]} <= sections
    assert len({chart["uuid"] for chart in grid["compareRunCharts"]}) == len(grid["compareRunCharts"])
    maps = [chart for chart in grid["compareRunCharts"] if chart["type"] == "CONTOUR"]
    assert [chart["zaxis"]["key"] for chart in maps] == ["overlap", "train_loss"]
    assert maps[0]["xaxis"] == {"key": "init_scale", "type": "PARAM"}
    assert maps[0]["yaxis"] == {"key": "log10_learning_rate", "type": "METRIC"}


def test_a_line_is_drawn_along_its_axis():
    grid = state(views([point("0.1"), point("1")]), "grid")
    assert [chart["type"] for chart in grid["compareRunCharts"]] == ["PARALLEL", "SCATTER", "SCATTER"]


def test_trainings_have_their_view_and_other_jobs_none():
    jobs = [
        Run(kind=JOB, experiment="toy", key=rule, name=rule, start=0, tags={"rule": rule}, metrics={("loss", 1): 1.0})
        for rule in ("train", "fit")
    ]
    training = state(views(jobs), "training")
    assert [chart["metricKey"] for chart in training["compareRunCharts"]] == ["loss"]
    assert views(jobs[1:]) == {}


def test_one_point_varies_nothing():
    assert varying([point("0.1")]) == []
    assert views([point("0.1")]) == views([point("0.1")])
