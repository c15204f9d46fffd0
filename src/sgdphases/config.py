"""What config.yaml and an experiment card may say, checked before anything is computed.

A card has two parts: `ensemble` says what is trained (hours), `analysis` what is measured, fitted, judged and drawn
(seconds). Every key is known here; anything else is refused with the file, the key and what is allowed.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from sgdphases.choices import guess, one_of
from sgdphases.claims.registry import PAPERS
from sgdphases.datasets.remote import MIRROR_VARIABLE
from sgdphases.faults import ConfigError, checked
from sgdphases.figures.options import options_of
from sgdphases.figures.registry import FIGURES
from sgdphases.fits.registry import FITS
from sgdphases.observables.registry import DENSE, OBSERVABLES
from sgdphases.times import Strict
from sgdphases.tracking.address import has_password
from sgdphases.training import Ensemble, once


def _listed(value: Any) -> Any:
    """A command line's `experiments=one,two` is a list as well."""
    return [word.strip() for word in value.strip("[]").split(",")] if isinstance(value, str) else value


def _file_name(word: str, what: str) -> str:
    """A name that files are called by: it cannot lead out of the project, nor mean anything to a shell."""
    if not re.fullmatch(r"[a-z0-9_]+", word):
        raise ValueError(f"the name of the {what} {word!r} may have small letters, digits and underscores only")
    return word


class DataConfig(Strict):
    """Where data sets are kept and where they may be fetched."""

    directory: str = "data"
    imagenet: str = ""
    mirrors: Annotated[list[str], BeforeValidator(_listed)] = []

    @field_validator("mirrors")
    @classmethod
    def _no_password(cls, value: list[str]) -> list[str]:
        if any(map(has_password, value)):
            raise ValueError(
                f"one has a password in it, which command lines and logs would show: say it by {MIRROR_VARIABLE}"
            )
        return value


class TrackingConfig(Strict):
    """Where runs are logged: an MLflow tracking URI, or empty for the store under results/tracking."""

    uri: str = ""

    @field_validator("uri")
    @classmethod
    def _no_password(cls, value: str) -> str:
        if has_password(value):
            raise ValueError(
                "it has a password in it, which command lines and logs would show: say it by "
                "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or a database's by PGPASSFILE"
            )
        return value


class Config(Strict):
    """config.yaml: which experiments to run, where data come from, on which device, where runs are logged."""

    experiments: Annotated[list[str], BeforeValidator(_listed)] = Field(min_length=1)
    cards: str = "workflow/experiments"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    data: DataConfig = DataConfig()
    tracking: TrackingConfig = TrackingConfig()

    @field_validator("experiments")
    @classmethod
    def _names(cls, value: list[str]) -> list[str]:
        return [_file_name(word, "experiment") for word in value]


class Figure(Strict):
    """One figure: its kind and that kind's options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    kind: str

    @field_validator("kind")
    @classmethod
    def _known(cls, value: str) -> str:
        return one_of(value, FIGURES, "kind of figure")

    @model_validator(mode="after")
    def _known_options(self) -> "Figure":
        options_of(self.kind, self.options)
        return self

    @property
    def options(self) -> dict[str, Any]:
        """Everything but the kind."""
        return dict(self.model_extra or {})


class Analysis(Strict):
    """What is measured, fitted, judged and drawn."""

    observables: list[str] = []
    fits: list[str] = []
    claims: list[str] = []
    figures: dict[str, Figure] = {}

    @field_validator("observables", "fits", "claims")
    @classmethod
    def _known(cls, value: list[str], info: Any) -> list[str]:
        words, what = {
            "observables": (OBSERVABLES, "observable"),
            "fits": (FITS, "fit"),
            "claims": (PAPERS, "paper"),
        }[info.field_name]
        return once(one_of(word, words, what) for word in value)

    @field_validator("figures")
    @classmethod
    def _names(cls, value: dict[str, Figure]) -> dict[str, Figure]:
        return {_file_name(name, "figure"): figure for name, figure in value.items()}


class Card(Strict):
    """One experiment."""

    title: str
    study: Literal["dyson", "chaos", "diffusion", "richness"]
    paper: str
    about: str = ""
    ensemble: Ensemble
    analysis: Analysis

    @model_validator(mode="after")
    def _measuredonce(self) -> "Card":
        twice = sorted(set(self.ensemble.running) & set(self.analysis.observables))
        if twice:
            raise ValueError(f"{', '.join(twice)} stands in ensemble.running and in analysis.observables; say it once")
        if self.ensemble.search is not None and self.analysis.observables:
            raise ValueError("analysis.observables: a search leaves no weights; name what training measures in running")
        if not (self.ensemble.running or self.analysis.observables):
            raise ValueError("analysis.observables: nothing is measured; name at least one, or name one in running")
        if self.ensemble.update == "iteration" and self.analysis.observables:
            raise ValueError("analysis.observables: update iteration leaves no weights; name its own in running")
        return self

    @model_validator(mode="after")
    def _one_mode(self) -> "Card":
        start = self.ensemble.start
        other = [word for word in self.analysis.observables if "mode" in OBSERVABLES[word].axes]
        if other and start is not None and start.directions.modes:
            raise ValueError(f"analysis.observables: {', '.join(other)} has other modes than those of start.directions")
        return self

    @model_validator(mode="after")
    def _measurable(self) -> "Card":
        if self.ensemble.network.modular and self.analysis.observables:
            raise ValueError(
                "analysis.observables: networks with a norm, or of kind resnet18, are measured as they train; name what"
                " is wanted in ensemble.running"
            )
        words = self.analysis.observables if self.ensemble.network.kind == "cnn" else []
        foreign = [word for word in words if DENSE & set(OBSERVABLES[word].needs)]
        if foreign:
            raise ValueError(f"analysis.observables: {', '.join(foreign)} cannot be measured on networks of kind cnn")
        return self


def read_config(values: dict[str, Any], source: str = "config.yaml") -> Config:
    """Check what Snakemake collected from config.yaml and `--config`.

    Args:
        values: The keys and values.
        source: Where they come from, for messages.

    Returns:
        The configuration.

    Raises:
        ConfigError: If a key is unknown or a value is not allowed.
    """
    return checked(Config, values, source)


def read_card(path: str | Path) -> Card:
    """Read and check one experiment card.

    Args:
        path: The card's file.

    Returns:
        The card.

    Raises:
        ConfigError: If the card is missing, is no YAML, or says something unknown.
    """
    path = Path(path)
    if not path.is_file():
        names = sorted(file.stem for file in path.parent.glob("*.yaml"))
        near = guess(path.stem, names)
        raise ConfigError(f"{path}: no such experiment card{near}; there are: {', '.join(names) or 'none'}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError, OSError) as error:  # ValueError: of a wrong date, of no UTF-8
        raise ConfigError(f"{path}: cannot be read as YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: a card is a mapping with the keys {', '.join(Card.model_fields)}")
    return checked(Card, values, str(path))
