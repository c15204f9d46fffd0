# The configuration, checked, as the lists that the rules need. No physics, no hyperparameter.
import os
import sys

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

from sgdphases import invocation
from sgdphases.config import ConfigError
from sgdphases.project import STORE_STAMP, Project, datasets
from sgdphases.provenance import fingerprint
from sgdphases.steps import guard

CALL = invocation.call_of(sys.argv[1:])

try:
    if workflow.is_main_process:
        invocation.check_profile(CALL, workflow.basedir)
    PROJECT = Project(config, workflow.basedir)
except ConfigError as error:
    raise WorkflowError(str(error)) from None

PROJECT.name_store()
if (
    workflow.is_main_process
    and invocation.alone_in(os.getcwd(), stay=False) is not False
):
    PROJECT.forget_incomplete_stamps()
    for path in filter(guard.vouched, PROJECT.manifests()):
        invocation.settle(path)
EXPERIMENTS = list(PROJECT.cards)
DATA = PROJECT.config.data.directory

# Jobs run with the interpreter that runs Snakemake, also when nothing is activated; `--sdm` brings its own.
if not workflow.deployment_settings.deployment_method:
    # `exec`: a signal that a scheduler sends to a job reaches the step, with no shell between that would die of it; so
    # the shell line of every rule is one command.
    shell.prefix(f'export PATH="{os.path.dirname(sys.executable)}:$PATH"; exec ')


# On a cluster these run beside Snakemake: they need the network or the tracking store, or take a second.
localrules:
    download,
    resolve,
    ledger,
    store,
    track,


onstart:
    try:
        ended = invocation.end_left_over(
            os.getcwd(),
            local=workflow.local_exec,
            alone=invocation.alone_in(os.getcwd()),
        )
    except invocation.LeftOver as error:
        raise WorkflowError(str(error)) from None
    said = invocation.notice(
        CALL,
        local=workflow.local_exec,
        hours=PROJECT.hours() if workflow.local_exec else 0.0,
        cores=workflow.cores if workflow.local_exec else 0,
    )
    for line in filter(None, (ended, said)):
        logger.warning(line)


onsuccess:
    chosen = workflow.dag_settings
    partial = (
        workflow.touch
        or chosen.until
        or chosen.omit_from
        or chosen.allowed_rules
        or chosen.batch
        or workflow.remote_execution_settings.immediate_submit
    )
    missing = [] if partial else invocation.left_out(workflow.dag.targetjobs)
    if missing:
        but = " without --forcerun" if chosen.forcerun else ""
        raise WorkflowError(
            f"{len(missing)} files are not made yet ({missing[0]}, ...): give the same command again{but}"
        )


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


def train_memory_of(wildcards, attempt):
    return PROJECT.needs(wildcards.experiment, wildcards.shard).memory * attempt


def train_minutes_of(wildcards, attempt):
    return PROJECT.needs(wildcards.experiment, wildcards.shard).minutes * attempt


def train_device_memory_of(wildcards, attempt):
    return PROJECT.needs(wildcards.experiment, wildcards.shard).device_memory * attempt


def start_memory_of(wildcards, attempt):
    return PROJECT.start_needs(wildcards.experiment).memory * attempt


def start_minutes_of(wildcards, attempt):
    return PROJECT.start_needs(wildcards.experiment).minutes * attempt


def start_device_memory_of(wildcards, attempt):
    return PROJECT.start_needs(wildcards.experiment).device_memory * attempt


def reading_memory_of(wildcards, input, attempt):
    # Megabytes of two Snakemakes, Python and its libraries, and of what compressed files become.
    # Not input.size_mb: where Snakemake builds its graph, as for a report, it warns that nobody awaited that.
    size = sum(os.path.getsize(path) for path in input)
    return (1500 + 20 * (size // 2**20)) * attempt


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
