"""The one door to MLflow: make the store ready, replay runs into it, as often as one likes.

Everything is written by explicit ids through `MlflowClient`, in batches, under a lock, and only where the store does
not hold it yet: a run's identity is a tag given at its creation, times are functions of the run's start, and a digest
of all that was written, set last, tells a whole run from one whose writer was killed half-way.
"""

import contextlib
import itertools
import logging
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from filelock import Timeout

from sgdphases.files import writing
from sgdphases.tracking.address import absolute, artifacts, as_uri, one_writer, shown
from sgdphases.tracking.runs import EXPERIMENT, Run, content, from_spools, overview
from sgdphases.tracking.views import views

for _name, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down costs seconds, not the default's minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
}.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():  # third-party modules warn while they are imported
    warnings.simplefilter("ignore")
    from mlflow import MlflowClient
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag, ViewType
    from mlflow.entities import Run as StoredRun
    from mlflow.exceptions import MlflowException
    from mlflow.store.db import utils as database
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

log = logging.getLogger(__name__)

IDENTITY, REVISION, CONTENT = "sgdphases.identity", "sgdphases.revision", "sgdphases.content"
PARENT = "mlflow.parentRunId"
METRICS_PER_CALL, WORDS_PER_CALL = 800, 100  # MLflow takes 1000 things a call, of them 100 params and 100 tags
KEYS_PER_RUN = 30  # its run page becomes slow with more
LONGEST_PARAM, LONGEST_TAG, LONGEST_VIEW = 6000, 8000, 20000
CUT = " ... (cut)"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the view for training, not for chats


@dataclass(frozen=True)
class Report:
    """What a replay did.

    Attributes:
        complete: Whether the store now holds every run; otherwise the log says why not.
        created: Runs that were new.
        updated: Runs that were there and lacked something.
        unchanged: Runs that were there, whole.
        retired: Runs that a newer revision replaced (they are in MLflow's trash and can be restored).
    """

    complete: bool
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    retired: int = 0


def prepare(uri: str, artifact_root: str | Path | None, experiments: Iterable[str]) -> dict[str, str]:
    """Make the store ready: create or upgrade the database, create the experiments.

    One process does this before others use the store; a lock makes the others wait. A store that cannot be reached
    raises what MLflow and its libraries raise, a lock that is never released `filelock.Timeout`.

    Args:
        uri: See `address.absolute`.
        artifact_root: Folder or URI under which a new experiment keeps its artifacts; None: see `address.artifacts`.
        experiments: Names of experiments that shall exist; deleted ones are restored.

    Returns:
        Experiment name to id.
    """
    uri = absolute(uri)
    with one_writer(uri), _quiet():
        return _prepare(uri, artifact_root, experiments)


def replay(spools: Iterable[str | Path], uri: str, *, artifact_root: str | Path | None = None) -> Report:
    """Replay job spools into the store: all that it lacks, and nothing twice.

    Args:
        spools: Spool files and folders of them.
        uri: See `address.absolute`.
        artifact_root: See `prepare`.

    Returns:
        What was done. A store that is down or locked is no error: it costs a warning and a later replay.
    """
    jobs = from_spools(spools)
    parents = {}
    for job in jobs:
        parents.setdefault(job.experiment, overview(job.experiment, jobs))
    return write([*parents.values(), *jobs], uri, artifact_root=artifact_root)


def write(
    runs: Sequence[Run],
    uri: str,
    *,
    artifact_root: str | Path | None = None,
    project: str | Path = ".",
    whole: Sequence[str] = (),
) -> Report:
    """Write runs into the store: all that it lacks, and nothing twice.

    Args:
        runs: The runs; each experiment's parent run among them, before its children.
        uri: See `address.absolute`.
        artifact_root: See `prepare`.
        project: Folder that artifact paths are relative to.
        whole: Kinds of which `runs` are all there are: others of the same experiments are retired.

    Returns:
        What was done. A store that is down or locked is no error: it costs a warning and a later replay.
    """
    uri = absolute(uri)
    try:
        with one_writer(uri), _quiet():
            ids = _prepare(uri, artifact_root, dict.fromkeys(run.experiment for run in runs))
            client = MlflowClient(tracking_uri=uri)
            writers = {name: _Experiment(client, id, Path(project)) for name, id in ids.items()}
            for run in runs:
                writers[run.experiment].write(run)
            for name, writer in writers.items():
                own = [run for run in runs if run.experiment == name]
                writer.retire_others(own, whole)
                writer.offer(views(own))
        counts = [writer.counts for writer in writers.values()]
        return Report(True, **{word: sum(count[word] for count in counts) for word in _Experiment.WORDS})
    except Timeout:
        log.warning(
            "The tracking store %s is in use by another writer; the spools wait for the next replay", shown(uri)
        )
    except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
        log.warning(
            "The tracking store %s did not take everything; the spools wait for the next replay: %s",
            shown(uri),
            shown(error),
        )
    return Report(False)


class _Experiment:
    """One experiment in the store, and what it holds already."""

    WORDS = ("created", "updated", "unchanged", "retired")

    def __init__(self, client: MlflowClient, experiment_id: str, project: Path) -> None:
        self.client = client
        self.id = experiment_id
        self.project = project
        self.counts = dict.fromkeys(self.WORDS, 0)
        self.stored: dict[str, list[StoredRun]] = {}
        for run in self._all():
            self.stored.setdefault(run.data.tags.get(IDENTITY, ""), []).append(run)
        self.parent = ""

    def write(self, run: Run) -> None:
        """Write one run, unless the store holds it whole; retire what it replaces."""
        earlier = self.stored.get(run.identity, [])
        same = [old for old in earlier if old.data.tags.get(REVISION, "") == run.revision]
        same.sort(key=lambda old: (old.info.start_time, old.info.run_id))
        whole = content(run, self.project)
        if same and same[0].data.tags.get(CONTENT) == whole:
            self.counts["unchanged"] += 1
        else:
            self.counts["updated" if same else "created"] += 1
            if not same:
                same = [self._create(run)]
            self._fill(run, same[0], whole)
        if run.kind == EXPERIMENT:
            self.parent = same[0].info.run_id
        elif self.parent and same[0].data.tags.get(PARENT) != self.parent:  # its parent was deleted and made anew
            self.client.set_tag(same[0].info.run_id, PARENT, self.parent)
        for old in earlier:
            if old.info.run_id != same[0].info.run_id:
                self._retire(old)

    def retire_others(self, runs: Sequence[Run], kinds: Sequence[str]) -> None:
        """Retire stored runs of these kinds that are not among `runs`."""
        kept = {run.identity for run in runs}
        for identity, others in self.stored.items():
            for old in others:
                if identity not in kept and old.data.tags.get("kind") in kinds:
                    self._retire(old)

    def offer(self, found: Mapping[str, str]) -> None:
        """Offer saved views on the experiment's page."""
        stored = self.client.get_experiment(self.id).tags
        for tag, value in found.items():
            if stored.get(tag) != value and len(value) <= LONGEST_VIEW:
                self.client.set_experiment_tag(self.id, tag, value)

    def _all(self) -> Iterator[StoredRun]:
        """Every live run of the experiment, page by page."""
        token: str | None = None
        while token != "":
            page = self.client.search_runs([self.id], run_view_type=ViewType.ACTIVE_ONLY, page_token=token)
            yield from page
            token = page.token or ""

    def _create(self, run: Run) -> StoredRun:
        """Create a run that can be found again from its first moment."""
        tags = {IDENTITY: run.identity, REVISION: run.revision, "kind": run.kind}
        if run.kind != EXPERIMENT and self.parent:
            tags[PARENT] = self.parent
        if len(run.tags) < WORDS_PER_CALL // 2:  # all in one go; otherwise the rest follows in batches
            tags |= _tags(run, {})
        return self.client.create_run(self.id, start_time=run.start, tags=tags, run_name=run.name)

    def _fill(self, run: Run, stored: StoredRun, whole: str) -> None:
        """Write all that belongs to a run; last its status and the tag that says it is whole."""
        run_id = stored.info.run_id
        values, left_out = _metrics(run, stored.info.start_time)
        params = _params(run, stored.data.params)
        had = stored.data.tags
        tags = [RunTag(name, value) for name, value in _tags(run, left_out).items() if had.get(name) != value]
        batches = itertools.zip_longest(
            _batches(values, METRICS_PER_CALL),
            _batches(params, WORDS_PER_CALL),
            _batches(tags, WORDS_PER_CALL),
            fillvalue=(),
        )
        for some_metrics, some_params, some_tags in batches:
            self.client.log_batch(run_id, metrics=some_metrics, params=some_params, tags=some_tags)
        if run.datasets:
            self.client.log_inputs(run_id, datasets=[_dataset(name, *words) for name, words in run.datasets.items()])
        for path, folder in run.artifacts:
            self._attach(run_id, self.project / path, folder)
        if run.end is None:
            self.client.update_run(run_id, status=run.status)
        else:
            self.client.set_terminated(run_id, status=run.status, end_time=run.end)
        self.client.set_tag(run_id, CONTENT, whole)

    def _attach(self, run_id: str, path: Path, folder: str) -> None:
        """Copy a file into the run's artifacts; a missing one costs a warning."""
        if path.is_file():
            self.client.log_artifact(run_id, str(path), folder or None)
        else:
            log.warning("%s is not there (any more) and is not attached", path)

    def _retire(self, old: StoredRun) -> None:
        """Put a replaced run into the trash."""
        self.client.delete_run(old.info.run_id)
        self.counts["retired"] += 1


def _prepare(uri: str, artifact_root: str | Path | None, experiments: Iterable[str]) -> dict[str, str]:
    """See `prepare`; the lock is held."""
    root = artifacts(uri) if artifact_root is None else as_uri(artifact_root)
    if urlsplit(uri).scheme.partition("+")[0] in DATABASES:
        _prepare_database(uri, root)
    client = MlflowClient(tracking_uri=uri)
    return {name: _experiment(client, name, None if root is None else f"{root}/{name}") for name in experiments}


def _prepare_database(uri: str, root: str | None) -> None:
    """Create a missing database, upgrade an old one."""
    file = Path(uri.removeprefix("sqlite:///")) if uri.startswith("sqlite:") else None
    if file is not None and not file.exists():
        with writing(file) as new:  # a kill while the tables are made leaves no half-made database behind
            SqlAlchemyStore(f"sqlite:///{new}", root or str(file.parent)).engine.dispose()
    engine = database.create_sqlalchemy_engine_with_retry(uri)
    try:
        database._verify_schema(engine)
    except MlflowException:
        log.info("Upgrading the tables of the tracking store %s", shown(uri))
        database._upgrade_db(engine)
    finally:
        engine.dispose()
    SqlAlchemyStore(
        uri, root or tempfile.gettempdir()
    ).engine.dispose()  # drops connections to a file that was replaced


def _experiment(client: MlflowClient, name: str, location: str | None) -> str:
    """The id of an experiment that exists from now on."""
    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return client.create_experiment(name, artifact_location=location, tags=EXPERIMENT_TAGS)
        except MlflowException:  # another machine was faster
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _metrics(run: Run, start: int) -> tuple[list[Metric], dict[str, str]]:
    """The metrics that the store can hold, and tags that name what it cannot."""
    names = list(dict.fromkeys(name for name, _ in run.metrics))
    if len(names) > KEYS_PER_RUN:
        log.warning("Run %s has %d metrics; the store takes the first %d", run.name, len(names), KEYS_PER_RUN)
    kept = set(names[:KEYS_PER_RUN])
    infinite: dict[str, list[int]] = {}
    values = []
    for (name, step), value in run.metrics.items():
        if math.isinf(value):
            infinite.setdefault(name, []).append(step)
        elif name in kept:
            values.append(Metric(_word(name), value, start + step, step))
    tags = {f"infinite.{name}": f"at {len(steps)} steps, the first {steps[0]}" for name, steps in infinite.items()}
    return values, tags | ({"metrics_left_out": ", ".join(names[KEYS_PER_RUN:])} if len(names) > KEYS_PER_RUN else {})


def _params(run: Run, stored: Mapping[str, str]) -> list[Param]:
    """The params that the store lacks; it never changes one, so a changed one costs a warning."""
    params = []
    for name, value in run.params.items():
        word, short = _word(name), _cut(value, LONGEST_PARAM)
        if word not in stored:
            params.append(Param(word, short))
        elif stored[word] != short:
            log.warning("Run %s keeps %s = %s; it is now %s", run.name, name, stored[word], short)
    return params


def _tags(run: Run, more: Mapping[str, str]) -> dict[str, str]:
    """A run's own tags and those that MLflow shows in its table and on its page."""
    source = {"mlflow.source.name": f"sgdphases.steps.{run.tags['rule']}"} if "rule" in run.tags else {}
    note = {"mlflow.note.content": run.note} if run.note else {}
    return {_word(name): _cut(value, LONGEST_TAG) for name, value in {**run.tags, **more, **source, **note}.items()}


def _dataset(name: str, data_digest: str, source: str) -> DatasetInput:
    """A data set as MLflow's input of a run."""
    entity = Dataset(name, data_digest[:36], "local", source)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])


def _batches(items: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    """Slices of at most `size` items."""
    return (items[place : place + size] for place in range(0, len(items), size))


def _word(name: str) -> str:
    """A name as MLflow takes it."""
    return re.sub(r"[^\w\-. :/]", "_", name)[:250]


def _cut(value: str, longest: int) -> str:
    """A text that is no longer than the store keeps, with a mark where it was cut."""
    return value if len(value) <= longest else value[: longest - len(CUT)] + CUT


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """MLflow's own notices (tables it makes, links to runs) stay out of the step's log; its warnings do not."""
    loggers = [logging.getLogger(name) for name in ("mlflow", "alembic")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
