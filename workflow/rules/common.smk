# The configuration, checked, as the lists that the rules need. No physics, no hyperparameter.
import os
import sys

from snakemake.exceptions import WorkflowError

from sgdphases.config import ConfigError
from sgdphases.project import Project, datasets
from sgdphases.provenance import fingerprint

try:
    PROJECT = Project(config, workflow.basedir)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

PROJECT.forget_incomplete_stamps()
EXPERIMENTS = list(PROJECT.cards)
DATA = PROJECT.config.data.directory

# Jobs run with the interpreter that runs Snakemake, also when nothing is activated; `--sdm` brings its own.
if not workflow.deployment_settings.deployment_method:
    shell.prefix(f'PATH="{os.path.dirname(sys.executable)}:$PATH"; ')


wildcard_constraints:
    experiment="|".join(EXPERIMENTS),
    dataset="|".join(datasets()),
    shard="[0-9a-f]{12}",
    fit="[a-z_]+",
    figure="[a-z_0-9]+",


def manifest_of(wildcards):
    return PROJECT.manifest(wildcards.experiment)


def data_arguments_of(wildcards):
    return PROJECT.data_arguments(wildcards.dataset)


def data_threads_of(wildcards):
    return PROJECT.data_threads(wildcards.dataset)


def train_code_of(wildcards):
    return PROJECT.code("train", wildcards.experiment)


def start_code_of(wildcards):
    return PROJECT.code("start", wildcards.experiment)


def start_content_of(wildcards):
    return f"results/{wildcards.experiment}/shards/{PROJECT.start(wildcards.experiment)}.json"


def start_of(wildcards):
    started = PROJECT.start(wildcards.experiment) is not None
    return [f"results/{wildcards.experiment}/start.nc"] if started else []


def start_option_of(wildcards):
    return [f"--start {path}" for path in start_of(wildcards)]


def measure_code_of(wildcards):
    return PROJECT.code("measure", wildcards.experiment)


def threads_of(wildcards):
    return PROJECT.threads(wildcards.experiment)


def checkpoint_seconds_of(wildcards):
    return PROJECT.checkpoint_seconds(wildcards.experiment)


def measured_of(wildcards):
    return [
        f"results/{wildcards.experiment}/measured/{name}.nc"
        for name in PROJECT.parts(wildcards.experiment)
    ]


def fits_of(wildcards):
    return [
        f"results/{wildcards.experiment}/fits/{fit}.nc"
        for fit in PROJECT.fits(wildcards.experiment)
    ]


def figures_of(wildcards):
    return [
        f"results/{wildcards.experiment}/figures/{figure}.png"
        for figure in PROJECT.figures(wildcards.experiment)
    ]


def card_of(wildcards):
    return PROJECT.paths[wildcards.experiment]


def measures_of(wildcards):
    return PROJECT.measures(wildcards.experiment)


def layout_of(wildcards):
    return PROJECT.layout(wildcards.experiment)


def drawing_of(wildcards):
    return PROJECT.drawing(wildcards.experiment, wildcards.figure)


def claims_of(wildcards):
    return PROJECT.claims(wildcards.experiment)
