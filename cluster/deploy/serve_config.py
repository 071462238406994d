"""Reads ``serve.yaml`` and ``ray.env`` for the local cluster.

serve_config(settings)    # a dictionary for Serve's REST API, with the settings' host and port
ray_environment()         # variables for ``ray start``
"""

import shlex
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from cluster.deploy.haproxy import PROGRAM, VARIABLE
from cluster.settings import Settings


def serve_config(settings: Settings) -> dict[str, Any]:
    """Return the Serve configuration with the settings' host and port."""
    config: dict[str, Any] = yaml.safe_load(
        (files("cluster.deploy") / "serve.yaml").read_text(encoding="utf-8")
    )
    config["http_options"].update(host=settings.api_host, port=settings.api_port)
    return config


def ray_environment() -> dict[str, str]:
    """Return the variables of ``ray.env``. The path of ``PROGRAM`` is set here, because no shell evaluates
    the file.
    """
    text = (files("cluster.deploy") / "ray.env").read_text(encoding="utf-8")
    variables = dict(assignment.split("=", 1) for assignment in shlex.split(text, comments=True))
    return {**variables, VARIABLE: str(PROGRAM)}


def require_release_only(arguments: Mapping[str, str]) -> None:
    """Accept only ``release`` as an argument of an application in ``serve.yaml``.

    Raises:
        ValueError: there are other arguments; the message names them.
    """
    if unknown := sorted(set(arguments) - {"release"}):
        raise ValueError(
            f"unknown arguments {unknown} in serve.yaml: settings are CLUSTER_* environment variables"
        )
