"""The jobs and the command compute the roll-ups of all organisations, even if one organisation fails."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.jobs.schedules.system_schedules import SYSTEM_SCHEDULES
from cluster.settings import Settings
from data_jobs import analytics
from data_jobs.kinds.analytics.rollup_jobs import (
    compute_daily_analytics,
    delete_old_platform_data,
    reconcile_analytics,
)
from data_jobs.kinds.registry import FUNCTIONS
from tests.cluster.analytics.test_rollups import message, send, stored
from tests.conftest import ROOT, new_organisation

NO_RESOURCES: Any = None


def test_an_organisation_that_fails_does_not_stop_the_others(
    settings: Settings, pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    broken = new_organisation(pool)
    for one in (broken, organisation):
        send(connection, one, message(1))
    connection.execute("UPDATE organisations SET time_zone = 'Nowhere/At_All' WHERE id = %s", [broken])
    try:
        result = compute_daily_analytics(NO_RESOURCES, settings, pool)
        assert result["failed"] == [broken]
        assert len(stored(connection, "agent_daily", organisation)) == 1
        assert organisation not in reconcile_analytics(NO_RESOURCES, settings, pool)["failed"]
    finally:
        connection.execute("UPDATE organisations SET time_zone = 'UTC' WHERE id = %s", [broken])
    assert (
        delete_old_platform_data(NO_RESOURCES, settings, pool)["organisations"] == 0
    )  # keeps all by default
    assert stored(connection, "agent_hourly", organisation)


def test_the_command_computes_a_period_again(
    settings: Settings,
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("cluster.command.read_settings", lambda: settings)
    send(connection, organisation, message(1))
    period = ["--from", "2026-03-28", "--to", "2026-04-01T00:00:00+02:00", "--organisation", organisation]
    for _ in range(2):
        assert analytics.main(period) == 0
        assert [row["messages"] for row in stored(connection, "agent_daily", organisation)] == [1]
        connection.execute("UPDATE agent_daily SET messages = 7 WHERE organisation = %s", [organisation])
    assert f"{organisation}: computed" in capsys.readouterr().err
    assert analytics.main(["--from", "2026-03-28", "--to", "2026-03-27"]) == 1


def test_schedules_submit_the_jobs_and_an_alert_names_their_metric() -> None:
    crons = {schedule.kind.name: schedule.cron for schedule in SYSTEM_SCHEDULES}
    assert crons["compute_hourly_stats"] == "0 * * * *"
    assert crons["compute_daily_analytics"] == "0 2 * * *"
    assert {"reconcile_analytics", "delete_old_platform_data"} <= crons.keys() & FUNCTIONS.keys()
    folder: Path = ROOT / "cluster" / "deploy"
    (name,) = yaml.safe_load((folder / "prometheus.yaml").read_text())["rule_files"]
    rules = yaml.safe_load((folder / name).read_text())["groups"][0]["rules"]
    expressions = {rule["alert"]: rule["expr"] for rule in rules}
    assert "ray_embedding_rollup_differences" in expressions["RollupsDiffer"]
