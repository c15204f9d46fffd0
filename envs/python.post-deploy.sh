#!/bin/sh
# Snakemake runs this in the conda environment it has just made from python.yaml, in the folder it was called from.
set -eu
if [ ! -f pyproject.toml ]; then
    printf 'Call snakemake --sdm conda in the project folder: the project itself is installed from there.\n' >&2
    exit 1
fi
python -m pip install --no-deps --no-build-isolation --editable .
