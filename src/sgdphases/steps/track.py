"""Step `track`: put an experiment into the tracking store: its jobs, its grid points, its figures and claims."""

import argparse
import csv
import itertools
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from sgdphases import provenance
from sgdphases.files import sha256, write_json
from sgdphases.steps.command import begin
from sgdphases.storage import cube as cubes
from sgdphases.storage.cube import NUMBERED, clock_of
from sgdphases.tracking import store
from sgdphases.tracking.address import absolute, shown
from sgdphases.tracking.limits import KEYS_PER_RUN
from sgdphases.tracking.runs import POINT, Run, digest, from_spools, overview, text
from sgdphases.tracking.views import DEVIATION, LOG

log = logging.getLogger(__name__)

NO_GRID = ("replica", "step", "flow_time", *NUMBERED)
CLOCKS = ("epoch", "epoch_time", "flow_time", "step")
MOST_POINTS = 1000
"""Grid points that get a run each: replaying more takes longer than most experiments, and nobody pages through them."""

UNTOLD = set(NUMBERED) - {"layer", "control"}
"""Dimensions whose variables are no single number of a point."""

MOST_METRICS = KEYS_PER_RUN


def main(argv: list[str] | None = None) -> None:
    """Replay an experiment's spools and add its grid points; a store that is down costs a warning."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.track", description=main.__doc__)
    parser.add_argument("--experiment", required=True, metavar="NAME")
    parser.add_argument("--cube", required=True, help="the experiment's cube")
    parser.add_argument("--claims", required=True, help="the experiment's claims.csv")
    parser.add_argument("--figures", nargs="*", default=[], metavar="FILE", help="figures (PNG) to attach")
    parser.add_argument("--card", required=True, help="the experiment's card")
    parser.add_argument("--spools", nargs="*", default=[], metavar="PATH", help="spool files, or folders of them")
    parser.add_argument("--uri", required=True, help="the store: an MLflow URI or the path of an SQLite file")
    parser.add_argument("--artifacts", help="where a new experiment keeps its files (default: beside an SQLite file)")
    parser.add_argument("--stamp", required=True, help="the JSON file that says it was done")
    args = begin("track", parser, argv)
    runs = experiment(args)
    report = store.write(runs, args.uri, artifact_root=args.artifacts, whole=[POINT])
    if not report.complete:
        log.warning("Once the store is back, the command on this log's first line replays everything")
    counts = Counter(run.kind for run in runs)
    log.info("%d runs: %s; %s", len(runs), dict(counts), report)
    write_json(args.stamp, {"store": shown(absolute(args.uri)), "runs": counts, "complete": report.complete})


def experiment(args: argparse.Namespace) -> list[Run]:
    """All runs of an experiment.

    Args:
        args: The command line (see `main`).

    Returns:
        The parent run, the job runs, one run per grid point.
    """
    jobs = [
        run for run in from_spools(args.spools) if run.experiment == args.experiment and run.tags["rule"] != "track"
    ]
    cube = cubes.read(args.cube)
    claims = _claims(args.claims)
    code = provenance.version()
    counts = Counter(claim["verdict"] for claim in claims)
    tags = {
        "code_version": code,
        "cube_sha256": sha256(args.cube),
        "card_sha256": sha256(args.card),
        "claims": ", ".join(f"{counts[verdict]} {verdict}" for verdict in ("pass", "fail", "not_measured")),
        "command": f"snakemake --cores all {args.cube}",
    }
    files = [*((figure, "figures") for figure in args.figures), (args.claims, ""), (args.card, "")]
    parent = overview(
        args.experiment,
        jobs,
        start=int(Path(args.cube).stat().st_mtime * 1000),
        tags=tags,
        note=note(args, cube, claims),
        artifacts=tuple(files),
    )
    return [parent, *jobs, *points(args.experiment, cube, jobs, start=parent.start)]


def points(name: str, cube: xr.Dataset, jobs: Sequence[Run], *, start: int) -> list[Run]:
    """One run per grid point: hyperparameters, and the replica means of what was measured at the last step.

    Args:
        name: The experiment's name.
        cube: Its cube.
        jobs: Its job runs; the points exist from the first to the last of those that trained and measured.
        start: When the points came to be if no job tells (milliseconds since 1970).

    Returns:
        The runs in the order of the grid; none where there are more than `MOST_POINTS`.
    """
    grid = [dim for dim in cube.dims if dim not in NO_GRID]
    shape = tuple(cube.sizes[dim] for dim in grid)
    if np.prod(shape) > MOST_POINTS:
        log.warning("%s has %d grid points, more than %d: none gets a run", name, np.prod(shape), MOST_POINTS)
        return []
    params = {word: _over(grid, values) for word, values in _hyperparameters(cube)}
    metrics = {word: _over(grid, values) for word, values in _observables(cube, grid, _logarithms(cube, grid))}
    labels = {word: _over(grid, values) for word, values in _labels(cube, grid)}
    made = [job for job in jobs if job.tags["rule"] in ("train", "measure")]
    begin = min((job.start for job in made), default=start)
    end = max((job.end for job in made if job.end is not None), default=begin)
    varying = [word for word in params if word in grid] or [word for word, values in params.items() if values.ndim]
    found = []
    size = int(np.prod(shape))
    for number, place in enumerate(np.ndindex(shape)):
        own = {word: text(_at(values, place)) for word, values in params.items()}
        numbers = {word: float(_at(values, place)) for word, values in metrics.items()}
        tags = {word: str(_at(values, place)) for word, values in labels.items()}
        values = {(word, 0): value for word, value in numbers.items() if not np.isnan(value)}
        found.append(
            Run(
                kind=POINT,
                experiment=name,
                key=" ".join(f"{word}={own[word]}" for word in varying),
                name=_title([_short(own[word]) for word in varying], varying) or name,
                start=begin + size - number,  # the page shows the latest run first
                end=max(end, begin + size),
                revision=digest([own, [[*key, value] for key, value in values.items()], tags]),
                params=own,
                metrics=values,
                tags=tags,
                note=_point_note(cube, varying, own),
            )
        )
    return found


def note(args: argparse.Namespace, cube: xr.Dataset, claims: Sequence[Mapping[str, str]]) -> str:
    """What the parent run is and how to repeat it, in Markdown.

    Args:
        args: The command line (see `main`).
        cube: The experiment's cube.
        claims: Rows of its claims.csv.

    Returns:
        The text.
    """
    sizes = {dim: size for dim, size in cube.sizes.items() if dim not in ("mode", "layer")}
    counts = Counter(claim["verdict"] for claim in claims)
    lines = [
        f"**{args.experiment}**: {', '.join(f'{size} {dim}' for dim, size in sizes.items())}. "
        f"Claims: {counts['pass']} passed, {counts['fail']} failed, {counts['not_measured']} not measured.",
        "",
        f"Repeat: `snakemake --cores all {args.cube}` (code {provenance.version()}, card `{args.card}`).",
        f'Read: `xarray.open_dataset("{args.cube}")`.',
        "",
        "The child runs are the jobs, and one run per grid point: its hyperparameters as parameters, the means over "
        "replicas at the last step as metrics, the phase as a tag. *Views* on the experiment's page shows them as a "
        "phase diagram (the page loads 100 runs at a time: *Load more*); `tags.kind = 'point'` finds them. "
        f"The same everywhere: {_constants(cube)}.",
        "",
    ]
    if claims:
        lines += ["| claim | quantity | expected | measured | verdict |", "|---|---|---|---|---|"]
    for claim in claims:
        if claim["verdict"] != "not_measured":
            words = (claim[column] for column in ("claim", "quantity", "expected", "measured", "verdict"))
            lines.append("| " + " | ".join(word.replace("|", "\\|") for word in words) + " |")
    return "\n".join(lines)


def _constants(cube: xr.Dataset) -> str:
    """The hyperparameters that are the same everywhere."""
    return ", ".join(f"{word}={text(values.item())}" for word, values in _hyperparameters(cube) if not values.ndim)


def _claims(path: str | Path) -> list[dict[str, str]]:
    """The claims with their verdicts; of a list-valued claim only its summary."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        return [row for row in csv.DictReader(stream) if "." not in row["claim"]]


def _hyperparameters(cube: xr.Dataset) -> Iterator[tuple[str, xr.DataArray]]:
    """Coordinates that say where in the grid a point lies, those that vary first."""
    own = [
        (str(word), values)
        for word, values in cube.coords.items()
        if word not in CLOCKS and not set(values.dims) & set(NO_GRID) and word not in NO_GRID
    ]
    yield from sorted(own, key=lambda pair: (not pair[1].ndim, pair[0] not in cube.dims))


def _logarithms(cube: xr.Dataset, grid: Sequence[str]) -> list[tuple[str, xr.DataArray]]:
    """log10 of the axes that span a decade or more: MLflow's charts have no logarithmic axis for hyperparameters."""
    found = []
    for word, values in _hyperparameters(cube):
        if word in grid and values.dtype.kind in "fi" and values.min() > 0 and values.max() >= 10 * values.min():
            found.append((f"{LOG}{word}", np.log10(values)))
    return found


def _observables(
    cube: xr.Dataset, grid: Sequence[str], first: Sequence[tuple[str, xr.DataArray]]
) -> Iterator[tuple[str, xr.DataArray]]:
    """Replica means at the last step, then as many of their standard deviations as a run may have metrics."""
    means, deviations = list(first), []
    for word, last in _scalars(cube, grid):
        if "flag_values" in last.attrs and not set(np.atleast_1d(last.attrs["flag_values"]).tolist()) <= {-1, 0, 1}:
            continue
        values = last.where(last >= 0) if last.dtype.kind in "iu" else last.astype(float)
        if word == "diverged_at":
            means.append(("diverged_fraction", (last >= 0).mean("replica")))
            continue
        means.append((word, values.mean("replica") if "replica" in values.dims else values))
        if last.dtype.kind == "f" and cube.sizes.get("replica", 1) > 1 and "replica" in values.dims:
            deviations.append((f"{word}{DEVIATION}", values.std("replica", ddof=1)))
    yield from itertools.islice((*means, *deviations), MOST_METRICS)


def _labels(cube: xr.Dataset, grid: Sequence[str]) -> Iterator[tuple[str, xr.DataArray]]:
    """The phase that most replicas are in at the last step, in words."""
    for word, last in _scalars(cube, grid):
        if not word.startswith("phase") or "flag_meanings" not in last.attrs:
            continue
        meanings = last.attrs["flag_meanings"].split()
        names = dict(zip(np.atleast_1d(last.attrs["flag_values"]).tolist(), meanings, strict=True))
        votes = [(last == value) for value in names]
        counts = np.stack([(vote.sum("replica") if "replica" in vote.dims else vote).values for vote in votes])
        winner = np.array(list(names.values()), dtype=object)[counts.argmax(axis=0)]
        yield word, xr.DataArray(winner, dims=[dim for dim in last.dims if dim != "replica"])


def _scalars(cube: xr.Dataset, grid: Sequence[str]) -> Iterator[tuple[str, xr.DataArray]]:
    """Every number per grid point, replica and layer at the last step; a layer's carries `_layer<number>`."""
    for word, values in cube.data_vars.items():
        if set(values.dims) & UNTOLD or not set(values.dims) & {*grid, "replica"} or values.dtype.kind not in "fiub":
            continue
        clock = clock_of(values)
        last = values.isel({clock: -1}, drop=True) if clock in values.dims else values
        last = last.isel(control=0, drop=True) if "control" in last.dims else last
        if "layer" not in last.dims:
            yield str(word), last
            continue
        for layer in last["layer"].values.tolist():
            yield f"{word}_layer{layer}", last.sel(layer=layer, drop=True)


def _over(grid: Sequence[str], values: xr.DataArray) -> np.ndarray:
    """Values with one axis per grid dimension, of length 1 where they do not depend on it; no axis for constants."""
    if not values.ndim:
        return values.values
    own = values.transpose(*[dim for dim in grid if dim in values.dims])
    return own.values[tuple(slice(None) if dim in values.dims else np.newaxis for dim in grid)]


def _at(values: np.ndarray, place: tuple[int, ...]) -> Any:
    """The value at a grid point."""
    index = tuple(0 if size == 1 else number for size, number in zip(values.shape, place, strict=False))
    found = values[index]
    return found.item() if isinstance(found, np.generic | np.ndarray) else found


def _title(values: Sequence[str], names: Sequence[str]) -> str:
    """A point's name: its values first, because the page's columns cut what comes later."""
    return f"{', '.join(values)} ({', '.join(names)})" if names else ""


def _short(value: str) -> str:
    """A number's text with three digits, for a name."""
    try:
        return f"{float(value):.3g}"
    except ValueError:
        return value


def _point_note(cube: xr.Dataset, varying: Sequence[str], own: Mapping[str, str]) -> str:
    """What the run of a grid point is, in Markdown."""
    chosen = ", ".join(f"{word}={own[word]}" for word in varying if word in cube.dims)
    replicas, last = cube.sizes.get("replica", 1), cube["step"].values.max() if "step" in cube.coords else 0
    select = f'`cube.sel({chosen}, method="nearest")`' if chosen else "the cube"
    return f"Means over {replicas} replicas at the end (step {last}). The whole history: {select}."


if __name__ == "__main__":
    main()
