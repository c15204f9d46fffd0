"""Saved views of MLflow's runs page: the grid points as a phase diagram, the trainings as curves.

A view is an experiment's tag that MLflow's page lists under "Views": the search, the columns, the charts. Without one
the page shows no hyperparameter, no observable, and bars over run names.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sgdphases.tracking.runs import INVOCATION, JOB, POINT, TASK, Run

PREFIX = "mlflow.sharedViewState."
LOG = "log10_"
DEVIATION = "_sd"
ROWS = 8  # more rows of charts load slowly
OPEN_ROWS = 4
COLUMNS = 10


def views(runs: Sequence[Run]) -> dict[str, str]:
    """The views of one experiment.

    Args:
        runs: Its runs.

    Returns:
        Experiment tag to its value; without grid points or trainings there is no view of them.
    """
    points = [run for run in runs if run.kind == POINT]
    trainings = [run for run in runs if run.kind == JOB and run.tags.get("rule") == "train"]
    found = {}
    if points:
        found["grid"] = _view("Phase diagram (grid points)", _grid(points))
    if trainings:
        found["training"] = _view("Training", _training(trainings))
    if any(run.kind == INVOCATION for run in runs):
        latest = {"orderByKey": "attributes.start_time", "orderByAsc": False}
        longest = {"orderByKey": "metrics.`seconds`", "orderByAsc": False}  # see `_grid` on the order
        found["invocations"] = _view("Invocations of Snakemake", _INVOCATIONS | latest)
        found["jobs"] = _view("Jobs: why they ran, what they took", _TASKS | longest)
    return {PREFIX + word: value for word, value in found.items()}


def varying(points: Sequence[Run]) -> list[str]:
    """The hyperparameters that differ between points, in the order of the grid.

    Args:
        points: The grid points' runs.

    Returns:
        Their names.
    """
    words = dict.fromkeys(word for point in points for word in point.params)
    return [word for word in words if len({point.params.get(word) for point in points}) > 1]


def _grid(points: Sequence[Run]) -> dict[str, Any]:
    """Table and charts of the grid points: a row of charts per observable, over the grid and along its axes."""
    axes = varying(points)[:4]
    names = list(dict.fromkeys(name for point in points for name, _ in point.metrics))
    observables = [name for name in names if not name.startswith(LOG) and not name.endswith(DEVIATION)]
    labels = list(dict.fromkeys(name for point in points for name in point.tags if name.startswith("phase")))
    columns = [f"params.`{word}`" for word in axes] + [f"tags.`{word}`" for word in labels]
    columns += [f"metrics.`{word}`" for word in observables[:COLUMNS]]
    scales = [_axis(word, names) for word in axes]
    plain = [scale["key"] for scale in scales if scale["type"] == "PARAM"]
    logarithms = [scale["key"] for scale in scales if scale["type"] == "METRIC"]
    plain = plain[: max(0, 2 - len(logarithms))]  # derived axes say nothing new, and a chart takes six columns
    chosen = [*logarithms[:2], *observables[:4]]
    rows: dict[str, list[dict[str, Any]]] = {
        "Parallel coordinates": [_chart("PARALLEL", selectedParams=plain, selectedMetrics=chosen, showAllRuns=True)]
    }
    for name in observables[:ROWS]:
        value = {"key": name, "type": "METRIC"}
        rows[name] = [_chart("SCATTER", xaxis=scale, yaxis=value) for scale in scales[:2]]
        if len(scales) > 1:
            rows[name].insert(0, _chart("CONTOUR", xaxis=scales[1], yaxis=scales[0], zaxis=value))
    # sorted by anything but their start, runs are listed without their folded parents
    order = f"metrics.`{logarithms[0]}`" if logarithms else "attributes.end_time"
    return _state("tags.kind = 'point'", columns, rows) | {"orderByKey": order, "orderByAsc": True}


def _training(trainings: Sequence[Run]) -> dict[str, Any]:
    """Table and curves of the training jobs."""
    names = list(dict.fromkeys(name for run in trainings for name, _ in run.metrics))
    columns = [f"params.`{word}`" for word in varying(trainings)[:6]]
    columns += [f"metrics.`{word}`" for word in names[:COLUMNS]]
    curves = [_chart("LINE", displayName=name, metricKey=name, selectedMetricKeys=[name]) for name in names[:ROWS]]
    order = f"metrics.`{names[0]}`" if names else "attributes.end_time"
    return _state("tags.rule = 'train'", columns, {"Curves": curves}) | {"orderByKey": order, "orderByAsc": True}


def _axis(word: str, metrics: Sequence[str]) -> dict[str, str]:
    """A chart's axis: the hyperparameter's logarithm where the points carry it."""
    return {"key": LOG + word, "type": "METRIC"} if LOG + word in metrics else {"key": word, "type": "PARAM"}


def _chart(kind: str, **fields: Any) -> dict[str, Any]:
    """One chart, not yet in a section."""
    return {"type": kind, "deleted": False, "isGenerated": False, "runsCountToCompare": 1000, **fields}


def _state(search: str, columns: Sequence[str], rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """The page's state: sections of charts, the first ones open, above MLflow's own, which are folded."""
    sections = [(f"row-{name}", name, number <= OPEN_ROWS) for number, name in enumerate(rows)]
    sections += [("model", "Model metrics", False), ("system", "System metrics", False)]
    charts = [
        {"uuid": f"chart-{name}-{number}", "metricSectionId": f"row-{name}", **chart}
        for name, row in rows.items()
        for number, chart in enumerate(row)
    ]
    return {
        "searchFilter": search,
        "selectedColumns": list(columns),
        "columnOrder": list(columns),
        "runsHiddenMode": "SHOW_ALL",
        "isAccordionReordered": True,  # keep the order given here
        "compareRunCharts": charts,
        "compareRunSections": [
            {"uuid": uuid, "name": name, "display": shown, "isReordered": False, "deleted": False, "isGenerated": False}
            for uuid, name, shown in sections
        ],
    }


_SECONDS = {"key": "seconds", "type": "METRIC"}
_INVOCATIONS = _state(
    f"tags.kind = '{INVOCATION}'",
    [f"metrics.`jobs_{word}`" for word in ("planned", "done", "failed")]
    + ["params.`executor`", "params.`profile`", "tags.`cause`"],
    {
        "Progress": [
            _chart("LINE", displayName=name, metricKey=name, selectedMetricKeys=[name], xAxisKey="time-relative")
            for name in ("jobs_done", "jobs_failed")
        ]
    },
)
_TASKS = _state(
    f"tags.kind = '{TASK}'",
    ["params.`rule`", "tags.`reason`", "metrics.`seconds`", "metrics.`memory_mb`"]
    + [f"tags.`{word}`" for word in ("resources", "attempts", "cause")],
    {
        "Cost": [
            _chart("BAR", metricKey="seconds"),
            _chart("SCATTER", xaxis=_SECONDS, yaxis={"key": "memory_mb", "type": "METRIC"}),
        ]
    },
)


def _view(name: str, state: Mapping[str, Any]) -> str:
    """A view as MLflow keeps it; the times are constant, so that a replay changes nothing."""
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})
