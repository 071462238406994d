"""The workers: a Serve deployment without a route that takes jobs from the queue and runs the jobs."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Provide ``data_jobs.worker:build``, the import path in a ``serve.yaml`` written for version 0.1."""
    if name == "build":
        return import_module("data_jobs.deployment").build
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
