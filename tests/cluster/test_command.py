"""Commands report wrong settings by name, in a line, with the exit code for wrong usage."""

import io

import pytest
from rich.console import Console

from cluster.command import EXIT_USAGE, run
from data_jobs import ingest


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("CLUSTER_API_PORT", "x", "CLUSTER_API_PORT: Input should be a valid integer"),
        ("CLUSTER_MODELS", "{key", 'parsing value for field "models"'),
        (
            "CLUSTER_MODELS",
            '{"a": {"source": "/b", "key_env": "sk-12"}}',
            "MODELS: a.key_env: must be the name",
        ),
    ],
)
def test_a_wrong_setting_is_named_in_a_line(
    variable: str, value: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, value)
    page = io.StringIO()

    assert run(lambda _: 0, Console(file=page, width=400), log_level="ERROR") == EXIT_USAGE
    assert sentence in page.getvalue()
    assert page.getvalue().count("\n") == 1


def test_an_ingest_with_a_wrong_setting_says_so_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER_BULK_ENGINES", "-1")

    assert ingest.main(["/tmp", "--vector-store", "a"]) == EXIT_USAGE
    assert (
        "error: CLUSTER_BULK_ENGINES: Input should be greater than or equal to 0" in capsys.readouterr().err
    )
