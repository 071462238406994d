"""Prices have periods that never overlap, and the price of the organisation and of the model comes first."""

from decimal import Decimal
from typing import Any

import pytest
from psycopg import Connection
from psycopg.errors import CheckViolation, ExclusionViolation


def add(
    connection: Connection[Any], organisation: str | None, model: str | None, price: str, *period: str
) -> None:
    start, end = (*period, None)[:2]
    connection.execute(
        "INSERT INTO usage_prices (organisation, kind, model, price, valid_from, valid_to)"
        " VALUES (%s, 'embedding', %s, %s, %s, %s)",
        [organisation, model, price, start, end],
    )


def test_the_most_specific_price_that_is_valid_counts(connection: Connection[Any], organisation: str) -> None:
    add(connection, None, None, "1", "2001-01-01Z", "2004-01-01Z")
    add(connection, None, "m", "2", "2001-01-01Z", "2002-01-01Z")
    add(connection, organisation, None, "3", "2002-01-01Z")
    add(connection, organisation, "m", "4", "2003-01-01Z")

    def price(*asked: str) -> Decimal | None:
        statement = "SELECT usage_price(%s, 'embedding', %s, %s)"
        return (connection.execute(statement, asked).fetchone() or [None])[0]

    assert price(organisation, "m", "2000-12-31 23:59:59Z") is None
    assert price(organisation, "m", "2001-12-31 23:59:59Z") == 2
    assert price(organisation, "m", "2002-01-01Z") == 3
    assert price("another", "m", "2002-01-01Z") == 1
    assert price(organisation, "m", "2003-01-01Z") == 4


@pytest.mark.parametrize("owned", [True, False], ids=["of an organisation", "of all"])
@pytest.mark.parametrize("model", ["m", None])
def test_the_database_refuses_overlapping_periods(
    connection: Connection[Any], organisation: str, owned: bool, model: str | None
) -> None:
    owner = organisation if owned else None
    add(connection, owner, model, "1", "1990-01-01Z", "1990-02-01Z")
    add(connection, owner, model, "1", "1990-02-01Z", "1990-03-01Z")
    with pytest.raises(ExclusionViolation), connection.transaction():
        add(connection, owner, model, "2", "1990-02-28Z")


def test_a_price_changes_at_a_full_hour_only(connection: Connection[Any], organisation: str) -> None:
    with pytest.raises(CheckViolation), connection.transaction():
        add(connection, organisation, "m", "1", "1990-01-01 00:30Z")
