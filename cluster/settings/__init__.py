"""The settings of the cluster, read once when a process starts and handed down.

Environment variables are the field names in capitals behind ``CLUSTER_``: ``CLUSTER_API_PORT=9000``.
Every default works on a laptop with no network, no GPU and no server. Each concern has a file in this package.

    settings = Settings()
"""

from typing import Self

from pydantic import model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from cluster.settings.addresses import RAY_PORTS, RAY_WORKER_PORTS, AddressSettings, is_loopback
from cluster.settings.bulk import BulkSettings
from cluster.settings.database import DatabaseSettings
from cluster.settings.documents import DocumentSettings
from cluster.settings.endpoint import EndpointSettings
from cluster.settings.engine import EngineSettings
from cluster.settings.files import FileSettings
from cluster.settings.home import HomeSettings
from cluster.settings.jobs import JobSettings
from cluster.settings.logs import LogSettings
from cluster.settings.models import ModelSettings
from cluster.settings.old_names import OLD_VARIABLES, warn_of_misspelt, with_new_names
from cluster.settings.organisations import OrganisationSettings
from cluster.settings.replicas import ReplicaSettings
from cluster.settings.values import MIB, Concern
from cluster.settings.workers import WorkerSettings

__all__ = [
    "CONCERNS",
    "MIB",
    "OLD_VARIABLES",
    "RAY_PORTS",
    "RAY_WORKER_PORTS",
    "Concern",
    "Settings",
    "is_loopback",
]

#: Keys of examples that are not meant to protect anything.
PLACEHOLDERS = frozenset({"changeme", "placeholder", "password", "your-api-key", "sk-placeholder"})

#: The classes that ``Settings`` is composed of, in the order of docs/settings.md.
CONCERNS: tuple[type[Concern], ...] = (
    HomeSettings,
    AddressSettings,
    DatabaseSettings,
    OrganisationSettings,
    ModelSettings,
    EngineSettings,
    ReplicaSettings,
    EndpointSettings,
    FileSettings,
    DocumentSettings,
    BulkSettings,
    WorkerSettings,
    JobSettings,
    LogSettings,
)


class Settings(
    HomeSettings,
    AddressSettings,
    DatabaseSettings,
    OrganisationSettings,
    ModelSettings,
    EngineSettings,
    ReplicaSettings,
    EndpointSettings,
    FileSettings,
    DocumentSettings,
    BulkSettings,
    WorkerSettings,
    JobSettings,
    LogSettings,
    BaseSettings,
):
    """Every setting of the cluster. Frozen; made once per process. Paths are absolute, sizes in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CLUSTER_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic-settings'
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Give every source's values their new names (``old_names``); the sources' order is the usual one."""
        prefix = cls.model_config["env_prefix"].lower()
        if isinstance(init_settings, InitSettingsSource):
            init_settings.init_kwargs = with_new_names(init_settings.init_kwargs)
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = with_new_names(source.env_vars, prefix)
                warn_of_misspelt(source.env_vars, cls.model_fields, prefix)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @model_validator(mode="after")
    def _safe(self) -> Self:
        if self.api_key is None and not is_loopback(self.api_host):
            raise ValueError(
                f"api_host={self.api_host} lets other machines in: set CLUSTER_API_KEY, which callers then have to send"
            )
        if self.environment == "production":
            if self.api_key is not None and self.api_key.get_secret_value().lower() in PLACEHOLDERS:
                raise ValueError("CLUSTER_API_KEY still holds a placeholder")
            if self.database_url is None:
                raise ValueError(
                    "production needs CLUSTER_DATABASE_URL: the bundled Postgres is for one machine"
                )
            if any(
                word in self.database_url.get_secret_value()
                for word in ("changeme", "placeholder", "password@")
            ):
                raise ValueError("CLUSTER_DATABASE_URL still holds a placeholder password")
        return self
