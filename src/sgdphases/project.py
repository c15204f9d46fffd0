"""What the workflow asks of a configuration: lists of shards, fits and figures, and the digests that decide reruns."""

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sgdphases.config import Card, ConfigError, read_card, read_config
from sgdphases.datasets.registry import DATASETS, stored, stored_name
from sgdphases.datasets.remote import imagenet_folder
from sgdphases.datasets.table_folder import table_folder
from sgdphases.estimates import Needs, start_needs, train_needs
from sgdphases.files import read_json
from sgdphases.provenance import digest, fingerprint
from sgdphases.shards import Part, parts, start_name

DECODING_THREADS = 4
STORE_STAMP = "results/tracking/store.json"
"""File that says the tracking store is ready."""


class Project:
    """All experiments of one invocation, checked.

    Args:
        values: What Snakemake collected from config.yaml and `--config`.
        base: Folder of the Snakefile; relative card folders start there.

    Raises:
        ConfigError: If the configuration or any card says something that cannot be run.
    """

    def __init__(self, values: Mapping[str, Any], base: str | Path) -> None:
        self.config = read_config(dict(values))
        folder = Path(base) / self.config.cards
        self.cards: dict[str, Card] = {}
        self.paths: dict[str, str] = {}
        self._parts: dict[str, dict[str, Part]] = {}
        self._starts: dict[str, str | None] = {}
        self._needs: dict[tuple[str, str], Needs] = {}
        for name in self.config.experiments:
            path = Path(os.path.relpath(folder / f"{name}.yaml"))
            self.cards[name] = read_card(path)
            self.paths[name] = str(path)
            try:
                self._parts[name] = {part.name: part for part in parts(self.cards[name])}
            except ConfigError as error:
                raise ConfigError(f"{path}: {error}") from None
            self._starts[name] = start_name(self.cards[name])
            self._check_folder(name)

    @property
    def tracking_uri(self) -> str:
        """The MLflow store: what config.yaml says, or an SQLite file under results/tracking."""
        return self.config.tracking.uri or f"sqlite:///{Path('results/tracking/mlflow.db').resolve()}"

    def name_store(self) -> None:
        """Tell `snakemake --logger mlflow` where rule `track` writes; its own option may say otherwise."""
        os.environ["SGDPHASES_TRACKING_URI"] = self.tracking_uri

    def parts(self, experiment: str) -> dict[str, Part]:
        """Shards of an experiment by digest."""
        return self._parts[experiment]

    def start(self, experiment: str) -> str | None:
        """Digest of how the weights are made that an experiment's networks start from; None without such."""
        return self._starts[experiment]

    def code(self, rule: str, experiment: str) -> str:
        """Fingerprint of the code that a rule's job of an experiment can reach: of data sets only its own."""
        return fingerprint(rule, self._dataset(experiment))

    def manifest(self, experiment: str) -> str:
        """File that says an experiment's data set is ready; its name does not depend on where the data are kept."""
        return f"results/datasets/{stored_name(self.cards[experiment].ensemble.dataset)}.json"

    def _check_folder(self, experiment: str) -> None:
        """Raise a ConfigError if the user's own images are wanted, not decoded yet, and nowhere to be found."""
        dataset, data = self.cards[experiment].ensemble.dataset, self.config.data
        ready = Path(self.manifest(experiment)).exists() or table_folder(dataset, data.directory).exists()
        if dataset["name"] != "imagenet" or ready:
            return
        try:
            imagenet_folder(data.imagenet)
        except FileNotFoundError as error:
            raise ConfigError(f"{self.paths[experiment]}: ensemble.dataset: {error}") from None

    def data_threads(self, name: str) -> int:
        """Threads that a data set is made ready with, by its name on the disk: images are decoded side by side."""
        return DECODING_THREADS if name not in DATASETS else 1

    def data_arguments(self, name: str) -> str:
        """What step `download` is told of a data set, by its name on the disk, for a shell."""
        cards = (card.ensemble.dataset for card in self.cards.values())
        dataset = next((dataset for dataset in cards if stored_name(dataset) == name), {"name": name})
        words = ["--dataset", dataset["name"]]
        if stored(dataset):
            words += ["--parameters", json.dumps(stored(dataset), sort_keys=True)]
        if dataset["name"] == "imagenet" and self.config.data.imagenet:
            words += ["--imagenet", self.config.data.imagenet]
        return shlex.join(words + [word for mirror in self.config.data.mirrors for word in ("--mirrors", mirror)])

    def _dataset(self, experiment: str) -> str:
        return self.cards[experiment].ensemble.dataset["name"]

    def stamp(self, experiment: str) -> str:
        """File that says an experiment has been tracked."""
        return f"results/tracking/{experiment}.json"

    def manifests(self) -> set[Path]:
        """Files that say that data sets of the experiments are ready."""
        return {Path(self.manifest(name)) for name in self.cards}

    def forget_incomplete_stamps(self) -> None:
        """Remove stamps of what the store was not there for, so that it is tried again: its beginning, and replays."""
        for path in map(Path, (STORE_STAMP, *map(self.stamp, self.cards))):
            try:
                complete = read_json(path)["complete"]
            except FileNotFoundError:
                continue
            except (ValueError, KeyError, TypeError):
                complete = False
            if not complete:
                path.unlink(missing_ok=True)

    def fits(self, experiment: str) -> list[str]:
        """Fits of an experiment."""
        return self.cards[experiment].analysis.fits

    def figures(self, experiment: str) -> list[str]:
        """Figures of an experiment."""
        return list(self.cards[experiment].analysis.figures)

    def threads(self, experiment: str) -> int:
        """Threads that one shard of an experiment trains with."""
        return self.cards[experiment].ensemble.threads

    def checkpoint_seconds(self, experiment: str) -> int:
        """Seconds of training between two checkpoints of a shard."""
        return self.cards[experiment].ensemble.checkpoint_seconds

    def needs(self, experiment: str, shard: str) -> Needs:
        """What training a shard needs."""
        key = (experiment, shard)
        if key not in self._needs:
            part = self._parts[experiment][shard]
            self._needs[key] = train_needs(self.cards[experiment], part, device=self.config.device)
        return self._needs[key]

    def start_needs(self, experiment: str) -> Needs:
        """What making the start of an experiment needs."""
        card = self.cards[experiment]
        return start_needs(card, card.ensemble.start, device=self.config.device)

    @property
    def gpus(self) -> int:
        """Devices that each job that trains asks its scheduler for: none unless the configuration says cuda."""
        return int(self.config.device == "cuda")

    def hours(self) -> float:
        """How long all training that is not done yet is expected to take, one job at a time."""
        waiting = (
            self.needs(name, shard).seconds
            for name, shards in self._parts.items()
            for shard in shards
            if not Path(f"results/{name}/records/{shard}.nc").exists()
        )
        return sum(waiting) / 3600

    def measures(self, experiment: str) -> str:
        """Digest of what is measured: changes when the card's observables do."""
        return digest(self.cards[experiment].analysis.observables)

    def layout(self, experiment: str) -> str:
        """Digest of where every network belongs in the cube, of what is measured, and of the cube's titles."""
        card = self.cards[experiment]
        axes = [list(card.ensemble.grid.items()), card.ensemble.points]
        return digest(
            [sorted(self.parts(experiment)), axes, self.measures(experiment), card.title, card.study, card.paper]
        )

    def drawing(self, experiment: str, figure: str) -> str:
        """Digest of one figure's options."""
        chosen = self.cards[experiment].analysis.figures[figure]
        return digest([chosen.kind, chosen.options])

    def claims(self, experiment: str) -> str:
        """Digest of the papers whose claims an experiment is held against."""
        return digest(self.cards[experiment].analysis.claims)


def datasets() -> list[str]:
    """Patterns of the names of all data sets on the disk, for the wildcard's constraint."""
    return [f"{name}-[0-9a-f]{{12}}" if entry.table else name for name, entry in sorted(DATASETS.items())]
