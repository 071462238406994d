"""The operator manages organisations, over HTTP and by command; a deleted organisation is refused at once."""

import json
from typing import Any

import httpx
import pytest

from cluster.organisations.__main__ import main
from tests.serve_app.conftest import MODEL, Server, bearer
from tests.waiting import LONGEST_WAIT_S, Stopwatch, until


def test_the_row_of_an_organisation_holds_its_options(operator: httpx.Client) -> None:
    wish = {"id": "rows", "time_zone": "Europe/Berlin", "billing_day": 15, "weight": 3, "bytes_limit": 9_000}
    made = operator.post("/v1/organisations", json=wish).json()
    assert {name: made[name] for name in wish} == wish
    changed = operator.post("/v1/organisations/rows", json={"weight": None, "concurrency_limit": 2}).json()
    assert (changed["weight"], changed["concurrency_limit"], changed["billing_day"]) == (None, 2, 15)
    assert operator.get("/v1/organisations/rows").json() == changed
    assert operator.post("/v1/organisations", json=wish).status_code == 409
    log = operator.get("/v1/organisation/audit_logs", headers={"openai-organization": "rows"}).json()["data"]
    assert [event["type"] for event in log] == ["organisation.changed", "organisation.created"]
    assert log[0]["details"] == {"weight": [3.0, None], "concurrency_limit": [None, 2]}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "a b"),
        ("id", "../default"),
        ("time_zone", "Mars/Olympus"),
        ("time_zone", "../etc/passwd"),
        ("billing_day", 29),
        ("weight", 0),
        ("concurrency_limit", 0),
        ("files_limit", -1),
        ("wieght", 1),
    ],
)
def test_an_option_outside_its_limits_is_refused(operator: httpx.Client, field: str, value: Any) -> None:
    answer = operator.post("/v1/organisations", json={"id": "refused", field: value})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == field
    assert operator.get("/v1/organisations/refused").status_code == 404


def test_a_deleted_organisation_is_refused_at_once_and_its_id_stays_taken(
    operator: httpx.Client, keyed_server: Server
) -> None:
    operator.post("/v1/organisations", json={"id": "gone"})
    of_gone = {"openai-organization": "gone"}
    key = operator.post("/v1/organisation/keys", json={"name": "ci"}, headers=of_gone).json()["key"]
    request = {"model": MODEL, "input": "a heron"}
    with httpx.Client(base_url=keyed_server.url, headers=bearer(key), timeout=LONGEST_WAIT_S) as client:
        assert client.post("/v1/embeddings", json=request).status_code == 200
        job = operator.delete("/v1/organisations/gone").json()["job_id"]
        deleted = Stopwatch()
        until(lambda: client.get("/v1/models").status_code != 200)
        assert deleted.seconds() < 1.0
        assert client.post("/v1/embeddings", json=request).status_code == 401
    assert operator.post("/v1/embeddings", json=request, headers=of_gone).status_code == 404
    assert operator.delete("/v1/organisations/gone").status_code == 409
    assert operator.post("/v1/organisations", json={"id": "gone"}).status_code == 409
    shown = operator.get(f"/v1/jobs/{job}", headers={"openai-organization": "system"}).json()
    assert (shown["kind"], shown["state"]) == ("delete_organisation", "queued")


def test_the_commands_of_organisations_and_keys(
    keyed_server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = keyed_server.service.settings
    assert settings.database_url is not None
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_DATABASE_URL", settings.database_url.get_secret_value())

    def run(*arguments: str) -> Any:
        assert main(arguments) == 0
        return json.loads(capsys.readouterr().out)

    run("create", "by-command", "--time-zone", "America/New_York", "--weight", "2")
    changed = run("set", "by-command", "--weight", "none", "--billing-day", "28")
    assert (changed["weight"], changed["billing_day"]) == (None, 28)
    assert run("show", "by-command")["time_zone"] == "America/New_York"
    assert main(["delete", "by-command"]) == 1
    assert "--yes" in capsys.readouterr().err
    assert main(["delete", "by-command", "--yes"]) == 0
    capsys.readouterr()
    assert main(["list"]) == 0
    assert "by-command" in capsys.readouterr().out


def test_a_weight_reaches_the_models_of_a_running_replica(
    operator: httpx.Client, keyed_server: Server
) -> None:
    operator.post("/v1/organisations", json={"id": "heavy", "weight": 5})
    operator.post(
        "/v1/embeddings", json={"model": MODEL, "input": "a"}, headers={"openai-organization": "heavy"}
    )
    weights = keyed_server.service.models.default.batcher._queue._weights  # type: ignore[attr-defined]
    assert weights["heavy"] == 5.0
