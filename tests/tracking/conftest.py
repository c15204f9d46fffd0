"""A store that is ready, copied from one that is made once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from sgdphases.tracking.runs import Run


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite store with its tables and no experiments."""
    from sgdphases.tracking import store

    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    store.prepare(str(path), None, [])
    return path


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> Iterator[str]:
    """URI of a store of one's own; its connections are closed afterwards."""
    from sgdphases.tracking.store import SqlAlchemyStore

    path = tmp_path / "tracking" / "mlflow.db"
    path.parent.mkdir()
    shutil.copy(empty_store, path)
    yield f"sqlite:///{path}"
    for engine in SqlAlchemyStore._engine_map.values():
        engine.dispose()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], AbstractContextManager[None]]:
    """While in it, the store refuses the runs of a key or a name."""
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    from sgdphases.tracking.store import Experiment

    write = Experiment.write

    @contextmanager
    def refusing(word: str) -> Iterator[None]:
        def refuse(experiment: Experiment, run: Run) -> None:
            if word in (run.key, run.name):
                raise MlflowException("Invalid value", error_code=INVALID_PARAMETER_VALUE)
            write(experiment, run)

        with monkeypatch.context() as patch:
            patch.setattr(Experiment, "write", refuse)
            yield

    return refusing
