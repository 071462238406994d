"""Budgets begin again when their period ends, and changes are checked, permitted and in the audit log."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg import Connection

from cluster.budgets.__main__ import main
from cluster.budgets.budgets import NewBudget, Period, Unit, change_budget, create_budget, delete_budget
from cluster.errors import Conflict, InvalidInput, NotFound, NotPermitted
from cluster.organisations.audit import list_events
from cluster.organisations.caller import Caller, CallerKind, acting_as
from cluster.settings import Settings
from tests.cluster.budgets.spender import Spender

NEW = NewBudget(unit=Unit.TOKENS, period=Period.DAY, stop_at=Decimal(10))
TENANT = Caller(kind=CallerKind.KEY, id="key_admin")


#: Period, zone, billing day, a time, and the start and the end of the period that contains this time. In
#: Cairo, clocks skip a midnight, so that day begins at one. In Havana, clocks show a midnight twice, and the
#: day begins at the first.
PERIODS = """
    day Europe/Berlin 1 2026-03-29T12:00+02:00 2026-03-29T00:00+01:00 2026-03-30T00:00+02:00
    day Europe/Berlin 1 2026-10-25T02:30+01:00 2026-10-25T00:00+02:00 2026-10-26T00:00+01:00
    day Asia/Kathmandu 1 2026-01-31T18:14:59+00:00 2026-01-31T00:00+05:45 2026-02-01T00:00+05:45
    day Africa/Cairo 1 2026-04-24T12:00+03:00 2026-04-24T01:00+03:00 2026-04-25T00:00+03:00
    day America/Havana 1 2026-11-01T00:30-04:00 2026-11-01T00:00-04:00 2026-11-02T00:00-05:00
    day America/Havana 1 2026-11-01T00:30-05:00 2026-11-01T00:00-04:00 2026-11-02T00:00-05:00
    week America/New_York 15 2026-03-08T23:59-04:00 2026-03-02T00:00-05:00 2026-03-09T00:00-04:00
    month Europe/Berlin 28 2026-03-27T23:59+01:00 2026-02-28T00:00+01:00 2026-03-28T00:00+01:00
    month Europe/Berlin 28 2026-03-28T00:00+01:00 2026-03-28T00:00+01:00 2026-04-28T00:00+02:00
    month Asia/Kolkata 1 2027-01-01T00:00+05:30 2027-01-01T00:00+05:30 2027-02-01T00:00+05:30
"""


@pytest.mark.parametrize("row", PERIODS.strip().splitlines(), ids=str.strip)
def test_periods_follow_the_zone_and_the_billing_day(connection: Connection[Any], row: str) -> None:
    period, zone, billing_day, at, starts, ends = row.split()
    found = connection.execute(
        "SELECT * FROM budget_period(%s, %s::timestamptz, %s, %s)", [period, at, zone, int(billing_day)]
    ).fetchone()
    assert found == (datetime.fromisoformat(starts), datetime.fromisoformat(ends))


def test_each_moment_is_in_exactly_one_period(connection: Connection[Any]) -> None:
    """For every half hour of the months in which clocks change, in zones with unusual changes."""
    row = connection.execute(
        """
        SELECT count(*), count(*) FILTER (WHERE own.starts_at <= at AND at < own.ends_at),
            count(*) FILTER (WHERE next.starts_at = own.ends_at)
        FROM unnest(ARRAY['America/Havana', 'Africa/Cairo', 'Australia/Lord_Howe']) AS zone,
            unnest(ARRAY['2026-03-05Z', '2026-04-01Z', '2026-10-01Z', '2026-10-20Z']::timestamptz[]) AS month,
            generate_series(month, month + interval '30 days', '30 minutes') AS at,
            budget_period('day', at, zone, 1) AS own,
            LATERAL budget_period('day', own.ends_at, zone, 1) AS next
        """
    ).fetchone()
    assert row is not None
    assert row[0] == row[1] == row[2] > 10_000


def test_the_organisations_zone_and_billing_day_are_used(
    spender: Spender, connection: Connection[Any], organisation: str
) -> None:
    connection.execute(
        "UPDATE organisations SET time_zone = 'Asia/Kathmandu', billing_day = 9 WHERE id = %s", [organisation]
    )
    budget = spender.budget(10)
    local = budget.starts_at.astimezone(ZoneInfo("Asia/Kathmandu"))
    assert (local.day, local.hour, local.minute) == (9, 0, 0)
    assert budget.renews.endswith("-09 00:00 (Asia/Kathmandu)")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"stop_at": None}, "warn_at, stop_at or both"),
        ({"stop_at": Decimal(0)}, "above 0"),
        ({"stop_at": Decimal("1.5")}, "whole number of tokens"),
        ({"stop_at": Decimal("NaN")}, "whole number of tokens"),
        ({"stop_at": Decimal(10**15)}, r"below 10\^15"),
        ({"warn_at": Decimal(11)}, "above stop_at"),
        ({"key": "key_none"}, "no API key 'key_none'"),
        ({"name": "x" * 129}, "128 printable"),
        ({"agent": ""}, "id of an agent"),
    ],
)
def test_wrong_budgets_are_refused(
    connection: Connection[Any], organisation: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        create_budget(connection, organisation, replace(NEW, **changes))


def test_only_the_operator_changes_a_budget_of_the_operator(
    connection: Connection[Any], organisation: str
) -> None:
    theirs = create_budget(connection, organisation, NEW)
    with acting_as(TENANT):
        with pytest.raises(NotPermitted, match="only the operator"):
            change_budget(connection, organisation, theirs.id, {"stop_at": Decimal(99)})
        with pytest.raises(NotPermitted, match="only the operator"):
            delete_budget(connection, organisation, theirs.id)
        own = create_budget(connection, organisation, NEW)
        change_budget(connection, organisation, own.id, {"stop_at": Decimal(9), "name": "mine"})
        delete_budget(connection, organisation, own.id)
    with pytest.raises(NotFound):
        delete_budget(connection, organisation, own.id)
    events = [(event.type, event.actor) for event in list_events(connection, organisation).items]
    assert events[:3] == [
        ("budget.deleted", "key_admin"),
        ("budget.changed", "key_admin"),
        ("budget.created", "key_admin"),
    ]


def test_the_number_of_budgets_is_limited(
    connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.budgets.budgets.MAX_BUDGETS", 1)
    create_budget(connection, organisation, NEW)
    with pytest.raises(Conflict, match="has 1 budgets, and at most 1"):
        create_budget(connection, organisation, NEW)


def test_the_command_creates_lists_changes_and_deletes(
    settings: Settings,
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    own = ["--organisation", organisation]
    money = ["--unit", "usd", "--period", "month", "--warn-at", "8", "--stop-at", "12.50"]
    assert main(["create", *own, *money]) == 0
    assert '"stop_at": "12.5' in capsys.readouterr().out
    assert main(["list", *own]) == 0
    line = capsys.readouterr().out
    assert "each month  warns at $8  stops at $12.5  used $0  reserved $0  renews 20" in line
    id = line.split()[0]
    assert main(["set", id, *own, "--warn-at", "none"]) == 0
    assert main(["show", id, *own]) == 0
    assert '"warn_at": null' in capsys.readouterr().out
    assert main(["delete", id, *own]) == 0
    assert main(["show", id, *own]) == 1
    assert f"no budget '{id}'" in capsys.readouterr().err
