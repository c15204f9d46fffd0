"""Merge the measured shards of an experiment into its cube."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from sgdphases.config import Card, read_card
from sgdphases.shards import points
from sgdphases.steps.command import begin, events
from sgdphases.storage import cube
from sgdphases.storage.phases import with_phases


def main(argv: Sequence[str] | None = None) -> None:
    """Fill the cube by value, label its phases, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--card", required=True)
    parser.add_argument("--cube", required=True)
    parser.add_argument("--spool")
    parser.add_argument("measured", nargs="+")
    arguments = begin("merge", parser, argv)
    card = read_card(arguments.card)
    experiment = Path(arguments.card).stem
    with events(arguments.spool, experiment, "merge", experiment) as spool:
        merged = cube.merge(layout(card), ((path, cube.read(path)) for path in arguments.measured))
        merged.attrs |= {"title": card.title, "study": card.study, "references": card.paper, "experiment": experiment}
        merged = with_phases(merged)
        cube.write(merged, arguments.cube)
        spool.params({"shards": len(arguments.measured), "variables": len(merged.data_vars), **merged.sizes})
        spool.artifact(arguments.cube)


def layout(card: Card) -> cube.Layout:
    """Where each network of a card belongs in its cube."""
    ensemble = card.ensemble
    return cube.Layout(
        axes=dict(ensemble.grid) or {"point": list(range(len(ensemble.points)))},
        points=points(ensemble),
        replicas=list(range(ensemble.replicas)),
        steps=ensemble.records.steps(ensemble.steps),
    )


if __name__ == "__main__":
    main()
