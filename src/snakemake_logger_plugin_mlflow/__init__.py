"""`snakemake --logger mlflow`: what a workflow does, in MLflow while it does it.

One run per invocation and one per job: rule, wildcards, resources, the reason for running, duration, status, log. Jobs
that write spools (`sgdphases.tracking.spool`; a `log:` file named *.jsonl) are followed while they work. Snakemake
finds this package by its name and loads it whenever it starts, so nothing heavy is imported here.
"""

from dataclasses import dataclass, field
from logging import LogRecord
from pathlib import Path

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

from snakemake_logger_plugin_mlflow.diary import Diary


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """What the command line or a profile may say, as --logger-mlflow-<name>."""

    uri: str | None = field(
        default=None,
        metadata={
            "help": "The tracking store: an MLflow URI or the path of an SQLite file. Default: the variable "
            "SGDPHASES_TRACKING_URI (which a Snakefile may set), else MLFLOW_TRACKING_URI, else mlflow.db here.",
            "type": str,
        },
    )
    artifacts: str | None = field(
        default=None,
        metadata={
            "help": "Folder or URI where new experiments keep their files. Default: beside an SQLite file; a server "
            "knows by itself.",
            "type": str,
        },
    )
    experiment: str = field(
        default="workflow",
        metadata={"help": "The MLflow experiment of invocations and their jobs.", "type": str},
    )
    spools: str | None = field(
        default=None,
        metadata={
            "help": "More spools to follow, separated by spaces: files, folders (searched for *.jsonl), patterns. "
            "Those that jobs name as their `log:` are followed anyway.",
            "type": str,
        },
    )
    interval: float = field(
        default=5.0,
        metadata={"help": "Seconds between two looks at what is new, at least.", "type": float},
    )
    patience: float = field(
        default=5.0,
        metadata={
            "help": "Seconds that the end of Snakemake waits for the last events to arrive; they are on disk, and the "
            "next invocation delivers what a store did not take.",
            "type": float,
        },
    )


class LogHandler(LogHandlerBase):
    """Writes down what Snakemake logs; another process brings it to MLflow. Nothing here raises into the workflow."""

    writes_to_stream = False
    writes_to_file = False
    has_filter = True  # --quiet is about the terminal
    has_formatter = True
    needs_rulegraph = False

    def __post_init__(self) -> None:
        """Begin a diary, unless nothing is going to happen."""
        self.diary = None if self.common_settings.dryrun else Diary(self.settings or LogHandlerSettings(), Path.cwd())

    def emit(self, record: LogRecord) -> None:
        """Write one record down.

        Args:
            record: What Snakemake logs, with its event and fields as attributes.
        """
        if self.diary is not None:
            self.diary.take(record)

    def close(self) -> None:
        """Write down how it ended, and give the writer a moment."""
        if self.diary is not None:
            self.diary.close()
        super().close()
