"""Where a table of images lies, and whether it is the one that an experiment began with; all that step train needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgdphases.datasets.registry import stored_name
from sgdphases.files import read_json

MANIFEST = "table.json"


class TableError(ValueError):
    """A table is not what it was when it was made; the message names the file."""


def table_folder(dataset: Mapping[str, Any], directory: str | Path) -> Path:
    """Where the table of a data set lies.

    Args:
        dataset: `name` and parameters, as in an experiment card.
        directory: The data directory.

    Returns:
        The folder; it need not exist.
    """
    return Path(directory) / dataset["name"] / stored_name(dataset)


def check_digest(dataset: Mapping[str, Any], directory: str | Path, known: Mapping[str, Any]) -> None:
    """Refuse a table that is not the one an experiment began with.

    Args:
        dataset: `name` and parameters, as in an experiment card.
        directory: The data directory.
        known: The manifest of the data set that the experiment keeps.

    Raises:
        TableError: If the digests differ. Data sets without a table, and tables that are not there, pass.
    """
    path = table_folder(dataset, directory) / MANIFEST
    if stored_name(dataset) == dataset["name"] or not path.exists():
        return
    found = read_json(path).get("digest")
    if found != known["digest"]:
        raise TableError(
            f"{path.parent} has the digest {found}, but the experiment began with {known['digest']}: other images or "
            f"another decoder; bring the former ones back, or remove the experiment's manifest and records"
        )
