"""``serve.yaml`` with the settings' address, and ``ray.env``: what the local cluster deploys, and what Ray is started with.

serve_config(settings)    # as a dictionary, for Serve's REST API
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
    """The Serve configuration for the settings' host and port."""
    config: dict[str, Any] = yaml.safe_load(
        (files("cluster.deploy") / "serve.yaml").read_text(encoding="utf-8")
    )
    config["http_options"].update(host=settings.api_host, port=settings.api_port)
    return config


def ray_environment() -> dict[str, str]:
    """What ``ray.env`` sets in a shell of this environment."""
    text = (files("cluster.deploy") / "ray.env").read_text(encoding="utf-8")
    variables = dict(assignment.split("=", 1) for assignment in shlex.split(text, comments=True))
    return {**variables, VARIABLE: str(PROGRAM)}


def require_release_only(arguments: Mapping[str, str]) -> None:
    """What ``serve.yaml`` may give an application: ``release``, and nothing else.

    Raises:
        ValueError: naming what else there is.
    """
    if unknown := sorted(set(arguments) - {"release"}):
        raise ValueError(f"unknown arguments {unknown}: settings come from CLUSTER_* environment variables")
