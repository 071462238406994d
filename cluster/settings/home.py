"""The machine and the deployment: which kind it is, and where it keeps its data."""

from typing import Literal

from platformdirs import user_data_path
from pydantic import Field

from cluster.settings.values import AbsolutePath, Concern, absolute


class HomeSettings(Concern):
    """The machine and the deployment: which kind it is, and where it keeps its data."""

    environment: Literal["development", "production"] = "development"
    """In production, placeholder secrets and the bundled database are refused."""

    home: AbsolutePath = Field(default_factory=lambda: absolute(user_data_path("embedding-cluster")))
    """Everything this cluster keeps on this machine: database, blobs, logs, pid files. Two homes are two clusters."""
