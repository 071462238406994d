"""``notebooks/analytics.ipynb`` answers its questions about generated events, whose truth is known."""

import pytest

from cluster.settings import Settings
from tests.data_jobs.platform_data.running_notebook import outputs_of


def test_the_analytics_notebook_runs(
    settings: Settings, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebook itself compares the roll-ups with the truth."""
    outputs = outputs_of("analytics", settings, database_url, monkeypatch)

    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert sum(output.get("text", "").count("as generated") for output in outputs) == 5
