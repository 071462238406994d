"""``notebooks/profiles.ipynb`` computes profiles of invented customers, whose truth is known."""

import pytest

from cluster.settings import Settings
from tests.data_jobs.platform_data.running_notebook import outputs_of


def test_the_profiles_notebook_runs(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook itself compares topics and moods with the truth."""
    outputs = outputs_of("profiles", settings, database_url, monkeypatch)

    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert sum(output.get("text", "").count("as invented") for output in outputs) == 6
