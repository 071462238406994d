"""Settings and engines for models at the simulator."""

from typing import Any

from cluster.engines import ModelEntry, Registry
from cluster.engines.openai.engine import OpenAIEngine
from cluster.engines.openai.kind import OpenAIKind
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from tests.keys_in_output import marked_key
from tests.simulators.openai import Server

MODEL = "text-embedding-3-small"
KEY_ENV, KEY = "TEST_OPENAI_KEY", marked_key("sk-")


def remote_settings(settings: Settings, url: str, *, name: str = "remote", **options: Any) -> Settings:
    """Return the settings with one more model, which the server at the URL serves."""
    model = ModelSetting(**{"source": f"openai:{MODEL}", "base_url": url, "key_env": KEY_ENV, **options})
    return settings.model_copy(update={"models": Table({**settings.models, name: model})})


def remote_entry(settings: Settings, url: str, *, name: str = "remote", **options: Any) -> ModelEntry:
    """Return the registry's entry of the model that ``remote_settings`` adds."""
    return Registry(remote_settings(settings, url, name=name, **options)).entries[name]


def remote_engine(settings: Settings, server: Server, **options: Any) -> OpenAIEngine:
    """Return the engine of a model at the simulator."""
    engine = OpenAIKind().open_engine(remote_entry(settings, server.url, **options))
    assert isinstance(engine, OpenAIEngine)
    return engine
