"""The settings of the cluster. A process reads them once when it starts and passes them on.

The environment variable of a setting is its name in capitals behind ``CLUSTER_``: ``CLUSTER_API_PORT=9000``.
Every default works on a laptop without network, GPU or server. Each concern has a file in this package.

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
from cluster.settings.chat import ChatSettings
from cluster.settings.database import DatabaseSettings
from cluster.settings.documents import ContainerSettings, DocumentSettings
from cluster.settings.endpoint import EndpointSettings
from cluster.settings.engine import EngineSettings
from cluster.settings.files import FileSettings
from cluster.settings.home import HomeSettings
from cluster.settings.indexes import VectorIndexSettings
from cluster.settings.jobs import JobSettings
from cluster.settings.logs import LogSettings
from cluster.settings.models import ModelSettings
from cluster.settings.old_names import OLD_VARIABLES, warn_of_misspelt, with_new_names
from cluster.settings.organisations import OidcSettings, OrganisationSettings
from cluster.settings.outbound import BrowserSettings, CrawlSettings, OutboundSettings, WebhookSettings
from cluster.settings.replicas import ReplicaSettings
from cluster.settings.secrets import SecretSettings
from cluster.settings.values import MIB, Concern
from cluster.settings.watching.alerts import AlertSettings
from cluster.settings.workers import BulkSettings, WorkerSettings

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

#: Keys that occur in examples. Such a key does not protect anything, because everybody knows it.
PLACEHOLDER_KEYS = frozenset({"changeme", "placeholder", "password", "your-api-key", "sk-placeholder"})
PLACEHOLDER_PASSWORDS = ("changeme", "placeholder", "password@")


class Settings(
    HomeSettings,
    AddressSettings,
    DatabaseSettings,
    VectorIndexSettings,
    OrganisationSettings,
    OidcSettings,
    SecretSettings,
    ModelSettings,
    ChatSettings,
    EngineSettings,
    ReplicaSettings,
    EndpointSettings,
    FileSettings,
    DocumentSettings,
    ContainerSettings,
    BulkSettings,
    WorkerSettings,
    JobSettings,
    OutboundSettings,
    WebhookSettings,
    CrawlSettings,
    BrowserSettings,
    LogSettings,
    AlertSettings,
    BaseSettings,
):
    """Every setting of the cluster, frozen. Paths are absolute, sizes are in bytes, times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix="CLUSTER_",
        frozen=True,
        extra="ignore",
        hide_input_in_errors=True,  # a wrong value may hold a password or a key
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
        """Rename old settings in the values of every source (``old_names``). The order of the sources does
        not change.
        """
        prefix = cls.model_config["env_prefix"].lower()
        if isinstance(init_settings, InitSettingsSource):
            init_settings.init_kwargs = with_new_names(init_settings.init_kwargs)
        for source in (env_settings, dotenv_settings):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = with_new_names(source.env_vars, prefix)
                warn_of_misspelt(source.env_vars, cls.model_fields, prefix)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @model_validator(mode="after")
    def _production_is_no_example(self) -> Self:
        if self.environment != "production":
            return self
        if self.api_key is not None and self.api_key.get_secret_value().lower() in PLACEHOLDER_KEYS:
            raise ValueError("CLUSTER_API_KEY still holds a placeholder: set a key of your own")
        if self.database_url is None:
            raise ValueError("production needs CLUSTER_DATABASE_URL: the bundled Postgres is for one machine")
        if any(word in self.database_url.get_secret_value() for word in PLACEHOLDER_PASSWORDS):
            raise ValueError("CLUSTER_DATABASE_URL still holds a placeholder password: set the real one")
        return self


#: The base classes of ``Settings``, one for each concern, in the order of docs/settings.md.
CONCERNS: tuple[type[Concern], ...] = tuple(base for base in Settings.__bases__ if issubclass(base, Concern))
