"""The log: its format and its lowest level."""

from typing import Literal

from cluster.settings.values import Concern


class LogSettings(Concern):
    """The log: its format and its lowest level."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """``auto`` writes lines for people on a terminal and JSON everywhere else."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of the log lines that are written."""
