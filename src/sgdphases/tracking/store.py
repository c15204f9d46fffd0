"""The one door to MLflow: make the store ready, replay runs into it, as often as one likes.

Everything is written by explicit ids through `MlflowClient`, in batches, under a lock, and only where the store does
not hold it yet: a run's identity is a tag given at its creation, times are functions of the run's start, and a digest
of all that was written, set last, tells a whole run from one whose writer was killed half-way.
"""

import itertools
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from filelock import Timeout

from sgdphases.files import writing
from sgdphases.tracking import limits
from sgdphases.tracking.address import absolute, artifacts, as_uri, one_writer, shown
from sgdphases.tracking.limits import Held
from sgdphases.tracking.refusals import listed, take
from sgdphases.tracking.runs import EXPERIMENT, INVOCATION, Run, content, digest, from_spools, overview, readable
from sgdphases.tracking.spool import KILLED
from sgdphases.tracking.views import views

for _name, _value in {
    "DO_NOT_TRACK": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ASYNC_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down costs seconds, not the default's minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
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

database.MAX_RETRY_COUNT = 3  # a database that is down costs a second, not the 100 s of MLflow's ten attempts

IDENTITY, REVISION, CONTENT = "sgdphases.identity", "sgdphases.revision", "sgdphases.content"
PARENT = "mlflow.parentRunId"
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
    with one_writer(uri), limits.quiet():
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
    parents = [overview(name, jobs) for name in dict.fromkeys(job.experiment for job in jobs)]
    return write([*parents, *jobs], uri, artifact_root=artifact_root)


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
        with one_writer(uri), limits.quiet():
            writers = opened(uri, artifact_root, dict.fromkeys(run.experiment for run in runs), project)
            refused = [words for run in runs if (words := take(writers[run.experiment], run))]
            for name, writer in writers.items():
                own = [run for run in runs if run.experiment == name]
                writer.settle(own)
                writer.retire_others(own, whole)
                writer.offer(views(own))
        if refused:
            log.warning("The tracking store %s refuses %s", shown(uri), listed(refused))
        counts = [writer.counts for writer in writers.values()]
        return Report(not refused, **{word: sum(count[word] for count in counts) for word in Experiment.WORDS})
    except Timeout:
        words = "The tracking store %s is in use by another writer; the spools wait for the next replay"
        log.warning(words, shown(uri))
    except Exception as error:  # MLflow lets errors of its database and network libraries through as they are
        words = "The tracking store %s did not take everything; the spools wait for the next replay: %s"
        log.warning(words, shown(uri), shown(error))
    return Report(False)


def opened(
    uri: str, artifact_root: str | Path | None, names: Iterable[str], project: str | Path, *, live: bool = False
) -> dict[str, "Experiment"]:
    """Open experiments for writing, the store made ready before; the caller holds the lock.

    Args:
        uri: The store's URI, as `address.absolute` gives it.
        artifact_root: See `prepare`.
        names: The experiments.
        project: Folder that artifact paths are relative to.
        live: Whether they are written to again and again, and so learn what they hold only when it matters.

    Returns:
        Name to experiment.
    """
    ids = _prepare(uri, artifact_root, names)
    client = MlflowClient(tracking_uri=uri)
    return {name: Experiment(client, number, Path(project), live=live) for name, number in ids.items()}


class Experiment:
    """One experiment in the store, and what it holds already; a live one learns that only when it is asked to write."""

    WORDS = ("created", "updated", "unchanged", "retired")

    def __init__(self, client: MlflowClient, experiment_id: str, project: Path, *, live: bool = False) -> None:
        self.client = client
        self.id = experiment_id
        self.project = project
        self.live = live
        self.counts = dict.fromkeys(self.WORDS, 0)
        self.stored: dict[str, list[Held]] = {}  # by identity
        if not live:
            self._survey()

    def write(self, run: Run) -> None:
        """Write one run, unless the store holds it whole; retire what it replaces."""
        same = self._same(run)
        if self.live and not same:
            self._learn(run.identity)
            same = self._same(run)
        earlier = self.stored.get(run.identity, [])
        light = self.live and (run.kind == EXPERIMENT or run.end is None)  # not whole yet: nothing to compare with
        whole = "" if light else content(run, self.project)
        if same and not light and (same[0].tags.get(CONTENT), same[0].status) == (whole, run.status):
            self.counts["unchanged"] += 1
        else:
            self.counts["updated" if same else "created"] += 1
            if not same:
                same = [self._create(run)]
            if not (self.live and run.kind == EXPERIMENT):
                self._fill(run, same[0])
            self._end(run, same[0])
            if whole:
                self._tag(same[0], CONTENT, whole)
        parent = self._parent(run)
        if parent and same[0].tags.get(PARENT) != parent:  # its parent was deleted and made anew
            self._tag(same[0], PARENT, parent)
        for old in earlier:
            if old.run_id != same[0].run_id:
                self._retire(old)
        self.stored[run.identity] = same[:1]

    def retire_others(self, runs: Sequence[Run], kinds: Sequence[str]) -> None:
        """Retire stored runs of these kinds that are not among `runs`."""
        kept = {run.identity for run in runs}
        for identity, others in self.stored.items():
            for old in others:
                if identity not in kept and old.tags.get("kind") in kinds:
                    self._retire(old)

    def settle(self, runs: Sequence[Run]) -> None:
        """Look again where runs were created: of those that a writer on another machine made too, one each stays."""
        if self.counts["created"]:
            before = dict(self.counts)
            self._survey()
            for run in runs:
                take(self, run)
            self.counts = before | {"retired": self.counts["retired"]}

    def offer(self, found: Mapping[str, str], *, again: bool = True) -> None:
        """Offer saved views on the experiment's page; without `again`, those that it lacks."""
        stored = self.client.get_experiment(self.id).tags
        for tag, value in found.items():
            if stored.get(tag) != value and len(value) <= limits.LONGEST_VIEW and (again or tag not in stored):
                self.client.set_experiment_tag(self.id, tag, value)

    def search(self, *conditions: str) -> Iterator[StoredRun]:
        """Every live run of the experiment that meets the conditions, page by page."""
        token: str | None = None
        while token != "":
            page = self.client.search_runs([self.id], " and ".join(conditions), ViewType.ACTIVE_ONLY, page_token=token)
            yield from page
            token = page.token or ""

    def holds(self, identity: str) -> bool:
        """Whether there is a run of an identity."""
        if self.live and not self.stored.get(identity):
            self._learn(identity)
        return bool(self.stored.get(identity))

    def kill(self, run_ids: Iterable[str], end: int, cause: str) -> None:
        """Mark runs as killed of which nobody can tell any more."""
        for run_id in run_ids:
            self.client.set_tag(run_id, "cause", cause)
            self.client.set_terminated(run_id, status=KILLED, end_time=end)

    def _survey(self) -> None:
        """Look up all runs of the experiment."""
        self.stored = {}
        for run in self.search():
            self.stored.setdefault(run.data.tags.get(IDENTITY, ""), []).append(Held.of(run))

    def _same(self, run: Run) -> list[Held]:
        """The stored runs of a run's identity and revision; more than one if writers raced."""
        found = [old for old in self.stored.get(run.identity, []) if old.tags.get(REVISION, "") == run.revision]
        return sorted(found, key=lambda old: (old.start, old.run_id))

    def _learn(self, identity: str) -> None:
        """Look up the runs of an identity."""
        self.stored[identity] = [Held.of(run) for run in self.search(f"tags.`{IDENTITY}` = '{identity}'")]

    def look_again(self, identity: str) -> None:
        """Learn what became of a run that was deleted meanwhile, or of its experiment, which is to stay."""
        if self.client.get_experiment(self.id).lifecycle_stage == "deleted":
            self.client.restore_experiment(self.id)
        self._learn(identity)

    def _parent(self, run: Run) -> str:
        """The id of the run that a run stands under; empty where there is none."""
        if run.kind in (EXPERIMENT, INVOCATION):
            return ""
        identity = run.parent or digest([run.experiment, EXPERIMENT, ""])
        if self.live and identity not in self.stored:
            self._learn(identity)
        found = sorted(self.stored.get(identity, []), key=lambda old: (old.start, old.run_id))
        return found[0].run_id if found else ""

    def _create(self, run: Run) -> Held:
        """Create a run that can be found again from its first moment."""
        tags = {IDENTITY: run.identity, REVISION: run.revision, "kind": run.kind}
        if parent := self._parent(run):
            tags[PARENT] = parent
        if len(run.tags) < limits.WORDS_PER_CALL // 2:  # all in one go; otherwise the rest follows in batches
            tags |= limits.tags(run, {})
        return Held.of(self.client.create_run(self.id, start_time=run.start, tags=tags, run_name=run.name))

    def _fill(self, run: Run, held: Held) -> None:
        """Write what belongs to a run and is not known to be there."""
        points, left_out = limits.numbers(run, held.start)
        params = limits.params(run, held.params)
        wanted = limits.tags(run, left_out)
        tags = {name: value for name, value in wanted.items() if held.tags.get(name) != value}
        calls = itertools.zip_longest(
            limits.batches([Metric(*point) for point in points[held.points :]], limits.METRICS_PER_CALL),
            limits.batches([Param(*pair) for pair in params.items()], limits.WORDS_PER_CALL),
            limits.batches([RunTag(*pair) for pair in tags.items()], limits.WORDS_PER_CALL),
            fillvalue=(),
        )
        for some_metrics, some_params, some_tags in calls:
            self.client.log_batch(held.run_id, metrics=some_metrics, params=some_params, tags=some_tags)
        for name in limits.PASSING:
            if name in held.tags and name not in wanted:
                self.client.delete_tag(held.run_id, name)
                del held.tags[name]
        held.points = len(points)
        held.params |= params
        held.tags |= tags
        if run.datasets:
            words = [_dataset(name, *known) for name, known in run.datasets.items()]
            self.client.log_inputs(held.run_id, datasets=words)
        for path, folder in run.artifacts:
            self._attach(held.run_id, self.project / path, folder)

    def _end(self, run: Run, held: Held) -> None:
        """Write a run's status, and when it ended."""
        if run.end is not None:
            self.client.set_terminated(held.run_id, status=run.status, end_time=run.end)
        elif held.status != run.status or not self.live:
            self.client.update_run(held.run_id, status=run.status)
        held.status = run.status

    def _tag(self, held: Held, name: str, value: str) -> None:
        """Write one tag."""
        self.client.set_tag(held.run_id, name, value)
        held.tags[name] = value

    def _attach(self, run_id: str, path: Path, folder: str) -> None:
        """Copy a file into the run's artifacts; one that is missing or not to be read costs a warning."""
        if readable(path):
            self.client.log_artifact(run_id, str(path), folder or None)
        else:
            log.warning("%s is not there (any more) or may not be read, and is not attached", path)

    def _retire(self, old: Held) -> None:
        """Put a replaced run into the trash."""
        self.client.delete_run(old.run_id)
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
    SqlAlchemyStore(uri, root or tempfile.gettempdir()).engine.dispose()  # drops connections to a replaced file


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


def _dataset(name: str, data_digest: str, source: str) -> DatasetInput:
    """A data set as MLflow's input of a run."""
    entity = Dataset(name, data_digest[:36], "local", source)
    return DatasetInput(entity, [InputTag("mlflow.data.context", "training")])
