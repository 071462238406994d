"""The workers: a Serve deployment without a route that takes jobs from the queue and runs the jobs."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Provide ``build``, because a ``serve.yaml`` for version 0.1 imports ``data_jobs.worker:build``."""
    if name == "build":
        return import_module("data_jobs.deployment").build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
