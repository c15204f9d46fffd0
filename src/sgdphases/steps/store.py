"""Step `store`: make the tracking store ready before jobs of any experiment write to it."""

import argparse
import logging
import shlex
import sys

from sgdphases.files import write_json
from sgdphases.tracking import store
from sgdphases.tracking.address import absolute

log = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> None:
    """Create or upgrade the store and its experiments; a store that is down costs a warning."""
    parser = argparse.ArgumentParser(prog="python -m sgdphases.steps.store", description=main.__doc__)
    parser.add_argument("--uri", required=True, help="the store: an MLflow URI or the path of an SQLite file")
    parser.add_argument("--artifacts", help="where a new experiment keeps its files (default: beside an SQLite file)")
    parser.add_argument("--experiments", nargs="+", required=True, metavar="NAME", help="experiments that shall exist")
    parser.add_argument("--stamp", required=True, help="the JSON file that says it was done")
    args = parser.parse_args(argv)
    log.info("python -m sgdphases.steps.store %s", shlex.join(sys.argv[1:] if argv is None else argv))
    ids: dict[str, str] = {}
    try:
        ids = store.prepare(args.uri, args.artifacts, args.experiments)
    except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
        log.warning("The tracking store %s cannot be made ready; jobs go on without it: %s", args.uri, error)
    write_json(args.stamp, {"store": absolute(args.uri), "experiments": ids, "complete": bool(ids)})


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
