"""Prices have periods that never overlap, and the price of the organisation and of the model comes first."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection
from psycopg.errors import CheckViolation, ExclusionViolation

from cluster.errors import InvalidInput, NotFound
from cluster.organisations.audit import list_events
from cluster.prices import main
from cluster.settings import Settings
from cluster.usage.prices import UsagePrice, list_prices, next_hour, price_changes, set_price


@pytest.fixture
def model() -> str:
    """A name that no other test uses, because prices for all organisations concern all tests."""
    return f"model-{uuid4().hex}"


def add(connection: Connection[Any], owner: str | None, model: str | None, price: str, *period: str) -> None:
    start, end = (*period, None)[:2]
    connection.execute(
        "INSERT INTO usage_prices (organisation, kind, model, price, valid_from, valid_to)"
        " VALUES (%s, 'embedding', %s, %s, %s, %s)",
        [owner, model, price, start, end],
    )


def test_the_most_specific_price_that_is_valid_counts(
    connection: Connection[Any], organisation: str, model: str
) -> None:
    add(connection, None, None, "1", "2001-01-01Z", "2004-01-01Z")
    add(connection, None, model, "2", "2001-01-01Z", "2002-01-01Z")
    add(connection, organisation, None, "3", "2002-01-01Z")
    add(connection, organisation, model, "4", "2003-01-01Z")

    def price(owner: str, at: str) -> Decimal | None:
        statement = "SELECT usage_price(%s, 'embedding', %s, %s)"
        return (connection.execute(statement, [owner, model, at]).fetchone() or [None])[0]

    assert price(organisation, "2000-12-31 23:59:59Z") is None
    assert price(organisation, "2001-12-31 23:59:59Z") == 2
    assert price(organisation, "2002-01-01Z") == 3
    assert price("another", "2002-01-01Z") == 1
    assert price(organisation, "2003-01-01Z") == 4


@pytest.mark.parametrize("owned", [True, False], ids=["of an organisation", "of all"])
@pytest.mark.parametrize("named", [True, False], ids=["of a model", "of all models"])
def test_the_database_refuses_overlapping_periods(
    connection: Connection[Any], organisation: str, model: str, owned: bool, named: bool
) -> None:
    key = (organisation if owned else None, model if named else None)
    add(connection, *key, "1", "1990-01-01Z", "1990-02-01Z")
    add(connection, *key, "1", "1990-02-01Z", "1990-03-01Z")
    with pytest.raises(ExclusionViolation), connection.transaction():
        add(connection, *key, "2", "1990-02-28Z")


def test_a_price_changes_at_a_full_hour_only(connection: Connection[Any], organisation: str) -> None:
    with pytest.raises(CheckViolation), connection.transaction():
        add(connection, organisation, "m", "1", "1990-01-01 00:30Z")


def test_a_new_price_takes_its_period_and_leaves_the_rest_to_others(
    connection: Connection[Any], organisation: str, model: str
) -> None:
    start = next_hour()
    hours = [start + timedelta(hours=n) for n in range(6)]

    def put(price: int, first: int, end: int | None) -> None:
        valid_to = None if end is None else hours[end]
        new = UsagePrice(kind="page", price=Decimal(price), valid_from=hours[first], valid_to=valid_to)
        set_price(connection, owned(new), operator="system")

    def owned(price: UsagePrice) -> UsagePrice:
        return UsagePrice(**{**vars_of(price), "organisation": organisation, "model": model})

    put(1, 0, None)
    put(2, 2, 4)
    put(3, 1, None)  # until the next price begins
    put(4, 3, 5)
    found = [
        (price.price, hours.index(price.valid_from), price.valid_to and hours.index(price.valid_to))
        for price in list_prices(connection, organisation)
        if price.organisation == organisation
    ]
    assert found == [(1, 0, 1), (3, 1, 2), (2, 2, 3), (4, 3, 5), (1, 5, None)]
    changes = set(price_changes(connection, organisation, start, start + timedelta(days=1)))
    assert changes & set(hours) == {hours[n] for n in (1, 2, 3, 5)}
    (event, *_) = list_events(connection, organisation).items
    assert (event.type, event.target, event.details["price"]) == ("usage_price.set", "page", "4")


def vars_of(price: UsagePrice) -> dict[str, Any]:
    return {name: getattr(price, name) for name in UsagePrice.__slots__}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"kind": "nothing"}, "kind"),
        ({"price": Decimal("1e-19")}, "price"),
        ({"price": Decimal("-1")}, "price"),
        ({"price": Decimal("NaN")}, "price"),
        ({"valid_from": datetime(2020, 1, 1, tzinfo=UTC)}, "valid_from"),
        ({"valid_from": datetime(2999, 1, 1, 0, 30, tzinfo=UTC)}, "valid_from"),
        ({"valid_to": datetime(2020, 1, 1, tzinfo=UTC)}, "valid_to"),
    ],
)
def test_a_price_that_is_not_possible_is_refused(
    connection: Connection[Any], organisation: str, change: dict[str, Any], param: str
) -> None:
    fields = {"kind": "page", "price": Decimal(1), "valid_from": next_hour(), "organisation": organisation}
    with pytest.raises(InvalidInput) as refused:
        set_price(connection, UsagePrice(**{**fields, **change}), operator="system")
    assert refused.value.param == param


def test_a_price_of_an_unknown_organisation_is_refused(connection: Connection[Any]) -> None:
    price = UsagePrice(kind="page", price=Decimal(1), valid_from=next_hour(), organisation="nowhere")
    with pytest.raises(NotFound):
        set_price(connection, price, operator="system")


def test_the_command_sets_and_lists_prices(
    settings: Settings,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    organisation: str,
    model: str,
) -> None:
    monkeypatch.setenv("CLUSTER_HOME", str(settings.home))
    monkeypatch.setenv("CLUSTER_DATABASE_URL", database_url)
    owner = ["--organisation", organisation]
    asked = ["set", "embedding", "0.02", "--per", "1000000", "--model", model, *owner]
    assert main([*asked, "--from", "2999-01-01", "--to", "2999-01-01T06:00+01:00"]) == 0
    assert capsys.readouterr().out == (
        "$0.00000002 for each of the tokens, from 2999-01-01 00:00 UTC to 2999-01-01 05:00 UTC\n"
    )
    assert main(["list", *owner]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if model in line]
    assert "$0.02 per million tokens" in line
    assert main([*asked, "--from", "2020-01-01"]) == 1
    assert "--retroactive" in capsys.readouterr().err
    assert main([*asked, "--from", "2020-01-01", "--to", "2020-01-02", "--retroactive"]) == 0
