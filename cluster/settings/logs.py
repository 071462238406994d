"""The log and the traces."""

from typing import Literal

from cluster.settings.values import Concern


class LogSettings(Concern):
    """The log and the traces."""

    log_format: Literal["auto", "json", "console"] = "auto"
    """``auto`` writes lines for people on a terminal and JSON everywhere else."""

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level of the log lines that are written."""

    tracing: bool = False
    """Record spans of requests and jobs, and send them by OTLP over HTTP. The standard variables ``OTEL_*``
    say where to, and how many. Needs the extra ``tracing``. See docs/tracing.md."""
