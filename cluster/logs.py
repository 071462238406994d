"""Configures the log as JSON lines, or as readable lines on a terminal. Each line names its process, and the
job, the organisation and the trace if these are known.

Each process (a command, a replica, an actor) calls ``configure`` once when it starts.

    configure(settings, process="worker")
    with about(job=job.id, organisation="default", kind=job.kind):
        structlog.get_logger(__name__).info("document_written", document=document, chunks=12)
"""

import logging
import os
import sys
from collections.abc import MutableMapping
from contextlib import AbstractContextManager
from typing import Any

import structlog

from cluster.settings import Settings
from cluster.text.well_formed import json_bytes
from cluster.tracing import current_trace


class _StderrLogger(structlog.WriteLogger):
    """Writes lines to standard error without the standard library's handlers, which take ten times as long.

    The speed matters because a replica writes a line for each request.
    """

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stderr)
        self.name = name


def configure(settings: Settings, *, process: str | None = None) -> None:
    """Send all log lines of this process and its libraries to standard error, in one form.

    A process may call this function again to change the configuration.

    Args:
        process: name of the part of the cluster that this process runs, such as ``worker``, for the field
            ``process`` of each line. None: the name of the module or program that Python runs.
    """
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _Origin(process or _own_module()),
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Unlike structlog's default for consoles, our tracebacks do not show the values of variables. A value can
    # be a document, and printing a large value can block an event loop for a minute.
    render: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
            )
        ]
        if console
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(serializer=_json)]
    )
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, *render],
        logger_factory=_StderrLogger,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for chatty in ("httpx", "httpcore", "psycopg.pool", "asyncio", "procrastinate", "mcp"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


class _Origin:
    """Adds the name and id of this process to a log line, and the trace id of the current request or job."""

    def __init__(self, process: str) -> None:
        self._process = process

    def __call__(self, _logger: Any, _method: str, line: MutableMapping[str, Any]) -> Any:
        line["process"], line["pid"] = self._process, os.getpid()
        if (context := current_trace()) is not None:
            line.setdefault("trace", context.trace_id)
        return line


def _own_module() -> str:
    """Return the name of the module that ``python -m`` runs, or else the file name of the program."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name.removesuffix(".__main__") if spec is not None else os.path.basename(sys.argv[0])


def _json(line: Any, **_: Any) -> str:
    return json_bytes(line, default=repr).decode()


def about(**what: str) -> AbstractContextManager[None]:
    """Add fields such as job, document, organisation or stage to all log lines inside the ``with`` block."""
    return structlog.contextvars.bound_contextvars(**what)
