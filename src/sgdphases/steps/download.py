"""Make a data set ready to be read, and write down what it is."""

import argparse
import json
from collections.abc import Sequence

from sgdphases.datasets.prepare import make_ready
from sgdphases.datasets.registry import resolve, stored_name
from sgdphases.files import write_json
from sgdphases.steps.command import begin, events


def main(argv: Sequence[str] | None = None) -> None:
    """Download, verify and unpack or decode what is missing; write the manifest.

    Args:
        argv: Arguments without the program's name; None for the command line's.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--directory", required=True, help="where data sets are kept, shared by all experiments")
    parser.add_argument("--manifest", required=True, help="the file to write")
    parser.add_argument("--parameters", type=json.loads, default={}, help="what a card says of the data set (JSON)")
    parser.add_argument("--mirrors", nargs="+", action="extend", default=[], help="addresses or folders, tried first")
    parser.add_argument("--imagenet", default="", help="the user's own folder, for the data set imagenet")
    parser.add_argument("--threads", type=int, default=1, help="how many images are decoded at a time")
    parser.add_argument("--spool")
    arguments = begin("download", parser, argv)
    dataset = {"name": arguments.dataset, **arguments.parameters}
    resolve(dataset)
    with events(arguments.spool, "data", "download", stored_name(dataset)) as spool:
        manifest = make_ready(
            arguments.dataset,
            arguments.directory,
            arguments.mirrors,
            parameters=arguments.parameters,
            imagenet=arguments.imagenet,
            threads=arguments.threads,
        )
        write_json(arguments.manifest, manifest)
        sources = {file["source"].rpartition("/")[0] for file in manifest["files"] if file["source"]}
        spool.dataset(arguments.dataset, manifest["digest"], " ".join(sorted(sources)) or manifest["licence"])
        spool.params({"files": len(manifest["files"]), "bytes": sum(file["bytes"] for file in manifest["files"])})


if __name__ == "__main__":
    main()
