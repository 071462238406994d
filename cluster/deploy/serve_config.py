"""``serve.yaml`` with the settings' address: the configuration the local cluster deploys.

serve_config(settings)    # as a dictionary, for Serve's REST API
"""

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import yaml

from cluster.settings import Settings


def serve_config(settings: Settings) -> dict[str, Any]:
    """The Serve configuration for the settings' host and port."""
    config: dict[str, Any] = yaml.safe_load((files("cluster.deploy") / "serve.yaml").read_text(encoding="utf-8"))
    config["http_options"].update(host=settings.api_host, port=settings.api_port)
    return config


def require_release_only(arguments: Mapping[str, str]) -> None:
    """What ``serve.yaml`` may give an application: ``release``, and nothing else.

    Raises:
        ValueError: naming what else there is.
    """
    if unknown := sorted(set(arguments) - {"release"}):
        raise ValueError(f"unknown arguments {unknown}: settings come from CLUSTER_* environment variables")
