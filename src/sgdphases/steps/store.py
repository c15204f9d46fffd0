"""Step `store`: make the tracking store ready before jobs of any experiment write to it."""

import argparse
import logging

from sgdphases.files import write_json
from sgdphases.steps.command import begin
from sgdphases.tracking import store
from sgdphases.tracking.address import absolute, shown

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Create or upgrade the store and its experiments; a store that is down costs a warning."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.store", description=main.__doc__)
    parser.add_argument("--uri", required=True, help="the store: an MLflow URI or the path of an SQLite file")
    parser.add_argument("--artifacts", help="where a new experiment keeps its files (default: beside an SQLite file)")
    parser.add_argument("--experiments", nargs="+", required=True, metavar="NAME", help="experiments that shall exist")
    parser.add_argument("--stamp", required=True, help="the JSON file that says it was done")
    args = begin("store", parser, argv)
    ids: dict[str, str] = {}
    try:
        ids = store.prepare(args.uri, args.artifacts, args.experiments)
    except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
        words = "The tracking store %s cannot be made ready; jobs go on without it: %s"
        log.warning(words, shown(args.uri), shown(error))
    write_json(args.stamp, {"store": shown(absolute(args.uri)), "experiments": ids, "complete": bool(ids)})


if __name__ == "__main__":
    main()
