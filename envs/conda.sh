#!/bin/sh
# conda.sh < requirements.lock > python.yaml: the lock's pins as a conda environment file. Called by make lock.
set -eu
cat << 'HEAD'
# Written by make lock. For `snakemake --sdm conda`: the packages of requirements.lock, in the same versions.
name: sgdphases
channels:
  - conda-forge
  - nodefaults
dependencies:
  - python >=3.11
  - pip
  - pip:
HEAD
awk '/^[^ #]/ { sub(/ *\\$/, ""); printf "      - \"%s\"\n", $0 }'
