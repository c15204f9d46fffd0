"""Merge the measured shards of an experiment into its cube."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from sgdphases.claims.papers import CITATIONS
from sgdphases.config import Card, read_card
from sgdphases.provenance import fingerprint, release
from sgdphases.quantities import QUANTITIES, attributes
from sgdphases.shards import points
from sgdphases.steps.command import begin, events
from sgdphases.storage import cube
from sgdphases.storage.phases import with_phases
from sgdphases.storage.start import MEANINGS, PLANE


def main(argv: Sequence[str] | None = None) -> None:
    """Fill the cube by value, label its phases, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--cube", required=True)
    parser.add_argument("--start", help="file of the weights that all networks started from")
    parser.add_argument("--spool")
    parser.add_argument("measured", nargs="+")
    arguments = begin("merge", parser, argv)
    card = read_card(arguments.card)
    experiment = Path(arguments.card).stem
    with events(arguments.spool, experiment, "merge", experiment) as spool:
        merged = cube.merge(layout(card), ((path, cube.read(path)) for path in arguments.measured))
        merged.attrs |= described(card, experiment, shards=len(arguments.measured))
        if arguments.start is not None:
            merged = with_start(merged, cube.read(arguments.start))
        merged = with_phases(merged)
        cube.write(merged, arguments.cube)
        spool.params({"shards": len(arguments.measured), "variables": len(merged.data_vars), **merged.sizes})
        spool.artifact(arguments.cube)


def described(card: Card, experiment: str, *, shards: int) -> dict[str, str]:
    """What a cube says about itself in its CF attributes; nothing that differs between two runs of the same code.

    Args:
        card: The experiment's card.
        experiment: Its name.
        shards: Number of shards it was merged from.

    Returns:
        Attribute to text.
    """
    return {
        "title": card.title,
        "study": card.study,
        "paper": card.paper,
        "references": CITATIONS.get(card.paper, card.paper),
        "experiment": experiment,
        "source": f"numerical simulation by sgdphases {release()}",
        "code_version": f"{release()}, code {fingerprint('merge')}",
        "history": f"sgdphases.steps.merge: {shards} measured shards of {experiment} merged",
    }


def with_start(merged: xr.Dataset, start: xr.Dataset) -> xr.Dataset:
    """A cube with what was measured once where all its networks started.

    Args:
        merged: The cube.
        start: The start's file.

    Returns:
        The cube with the variables of `storage.start.MEANINGS` and `PLANE`, which have no replica, and the attributes
        `parameters` and `start_<word>`, which say how the start was made.
    """
    found = start[[name for name in (*MEANINGS, *PLANE) if name in start]]
    counted = [name for name in found.dims if name in QUANTITIES]
    numbers = {name: (name, np.arange(found.sizes[name]), attributes(name)) for name in counted}
    found = found.assign_coords({name: number for name, number in numbers.items() if name not in merged.coords})
    made = {word: value for word, value in start.attrs.items() if word == "parameters" or word.startswith("start_")}
    return merged.assign(found.data_vars).assign_coords(found.coords).assign_attrs(made)


def layout(card: Card) -> cube.Layout:
    """Where each network of a card belongs in its cube."""
    ensemble = card.ensemble
    return cube.Layout(
        axes=dict(ensemble.grid) or {"point": list(range(len(ensemble.points)))},
        points=points(ensemble),
        replicas=list(range(ensemble.replicas)),
        times=ensemble.times,
        clock=ensemble.clock,
        layers=len(ensemble.network.widths) - 1,
    )


if __name__ == "__main__":
    main()
