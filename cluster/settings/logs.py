"""The log: its format and its least severe level."""

from typing import Literal

from cluster.settings.values import Concern


class LogSettings(Concern):
    """The log: its format and its least severe level."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """auto: lines for people on a terminal, JSON everywhere else."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe level that is written."""
