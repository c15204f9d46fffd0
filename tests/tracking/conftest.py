"""A store that is ready, copied from one that is made once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest


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
