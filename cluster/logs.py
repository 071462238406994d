"""Logs as JSON lines, or as lines for people on a terminal; every line carries who and what it is about.

Called once at the edge of each process (a command, a replica, an actor).

    configure(settings)
    with about(job=job.id, organisation="default"):
        structlog.get_logger(__name__).info("document_written", document=document, chunks=12)
"""

import logging
import sys
from contextlib import AbstractContextManager
from typing import Any

import structlog

from cluster.settings import Settings
from cluster.text.well_formed import json_bytes


class _Writer(structlog.WriteLogger):
    """Writes our own lines itself: the standard library's handlers take ten times as long for each, and a replica writes one a request."""

    def __init__(self, name: str = "") -> None:
        super().__init__(sys.stderr)
        self.name = name


def configure(settings: Settings) -> None:
    """Send every log line of this process, ours and the libraries', to standard error in one form. Safe to repeat."""
    console = settings.log_format == "console" or (settings.log_format == "auto" and sys.stderr.isatty())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
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
        logger_factory=_Writer,
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
    for chatty in ("httpx", "httpcore", "psycopg.pool", "asyncio", "procrastinate"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))


def _json(line: Any, **_: Any) -> str:
    return json_bytes(line, default=repr).decode()


def about(**what: str) -> AbstractContextManager[None]:
    """Every log line inside the block carries these fields: job, document, organisation, stage."""
    return structlog.contextvars.bound_contextvars(**what)
