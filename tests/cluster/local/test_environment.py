"""Another process reads the same settings from the variables that it gets."""

import pytest

from cluster.local.environment import settings_variables
from cluster.settings import Settings


def test_models_networks_and_ports_arrive_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = Settings(
        models={"a": "/models/a", "b": {"source": "openai:b", "key_env": "KEY", "dimensions": 256}},  # type: ignore[dict-item]
        organisation_weights={"gold": 3},  # type: ignore[arg-type]
    )
    settings = settings.model_copy(update={"outbound_ports": (8443,), "outbound_deny_cidrs": ("10.0.0.0/8",)})
    for name, value in settings_variables(settings).items():
        monkeypatch.setenv(name, value)
    assert Settings().models == settings.models
    assert Settings().organisation_weights == settings.organisation_weights
    assert (Settings().outbound_ports, Settings().outbound_deny_cidrs) == ((8443,), ("10.0.0.0/8",))
