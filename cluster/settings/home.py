"""The environment that the cluster runs in, and the folder with its data on this machine."""

from typing import Literal

from platformdirs import user_data_path
from pydantic import Field

from cluster.settings.values import AbsolutePath, Concern, absolute


class HomeSettings(Concern):
    """The environment that the cluster runs in, and the folder with its data on this machine."""

    environment: Literal["development", "production"] = "development"
    """``production`` refuses settings that fit development only: placeholder secrets and the bundled
    database."""

    home: AbsolutePath = Field(default_factory=lambda: absolute(user_data_path("embedding-cluster")))
    """Folder with everything that this cluster keeps on this machine: database, blobs, logs, pid files. Each
    home is a cluster of its own."""
