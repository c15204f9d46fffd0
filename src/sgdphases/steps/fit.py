"""Make one estimate from a cube."""

import argparse
from collections.abc import Sequence

from sgdphases.fits.registry import FITS
from sgdphases.steps.command import begin, events
from sgdphases.steps.words import function_of
from sgdphases.storage import cube


def main(argv: Sequence[str] | None = None) -> None:
    """Read the cube, fit, write the estimate with its errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", required=True, choices=sorted(FITS))
    parser.add_argument("--cube", required=True)
    parser.add_argument("--output", required=True)
    parser.add_argument("--spool")
    arguments = begin("fit", parser, argv)
    data = cube.read(arguments.cube)
    with events(arguments.spool, data.attrs["experiment"], "fit", arguments.fit) as spool:
        estimate = function_of(FITS[arguments.fit])(data)
        cube.write(estimate, arguments.output)
        spool.params({"fit": arguments.fit})
        spool.metrics({name: float(value) for name, value in estimate.data_vars.items() if value.ndim == 0})


if __name__ == "__main__":
    main()
