"""Set and list the prices of usage. A price is valid for a period, and the periods of a price never overlap.

``python -m cluster.prices`` calls this module. The functions ``usage_price`` and ``usage_cost`` of the
database choose the price of an event: an organisation's own price comes before the price for all
organisations, and among these, the price of the model comes before the price for all models.

    price = UsagePrice(kind=EMBEDDING, model="small", price=Decimal("0.00000002"), valid_from=next_hour())
    set_price(connection, price, operator="system")
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row

from cluster.database.queries import queries
from cluster.errors import InvalidInput
from cluster.organisations.audit import record
from cluster.organisations.organisations import lock_organisation
from cluster.usage.events import UNITS

#: Limits of the column ``price``: digits before and after the point.
MAX_PRICE, MAX_DECIMALS = Decimal(10) ** 12, 18


@dataclass(frozen=True, kw_only=True, slots=True)
class UsagePrice:
    """The price of one unit of usage for a period."""

    #: Kind of the usage, a key of ``events.UNITS``.
    kind: str
    #: US dollars for one unit of the kind, such as a token.
    price: Decimal
    #: Beginning of the period, a full hour in UTC.
    valid_from: datetime
    #: The first instant after the period, a full hour in UTC; None if the period has no end.
    valid_to: datetime | None = None
    #: Id of the only organisation with this price; None: all organisations without a price of their own.
    organisation: str | None = None
    #: Name of the only model with this price; None: all models without a price of their own, and usage
    #: without a model.
    model: str | None = None
    #: When the price was set; None: now.
    created_at: datetime | None = None


COLUMNS = ", ".join(field.name for field in fields(UsagePrice))
SQL = {
    name: text.replace("{columns}", COLUMNS) for name, text in queries("cluster.usage", "prices.sql").items()
}


def next_hour(now: datetime | None = None) -> datetime:
    """Return the next full hour in UTC, the earliest time at which a price can begin that is not past."""
    return (now or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def set_price(
    connection: Connection[Any], price: UsagePrice, *, operator: str, retroactive: bool = False
) -> UsagePrice:
    """Set the price for its period, and return the price as it is stored. Other prices of the same kind,
    model and organisation keep the parts of their periods that are outside the new period.

    Args:
        price: without ``valid_to``, the period ends when the next period begins that is set already.
        operator: id of the organisation whose audit log gets the changes of prices for all organisations.
        retroactive: True to permit a period that begins in the past, which changes the cost of earlier usage.

    Raises:
        InvalidInput: the kind is unknown, the price or the period is not possible, or the period begins in
            the past.
        NotFound: there is no such organisation.
        Conflict: the organisation is deleted.
    """
    _check(price, retroactive=retroactive)
    with connection.transaction():
        if price.organisation is not None:
            lock_organisation(connection, price.organisation)
        connection.execute(SQL["lock_of_all"])
        if price.valid_to is None:
            (following,) = connection.execute(SQL["next"], asdict(price)).fetchone() or (None,)
            price = replace(price, valid_to=following)
        price = replace(price, created_at=datetime.now(UTC))
        for part in [price, *_outside(_rows(connection, "take_out", asdict(price)), price)]:
            connection.execute(SQL["insert"], asdict(part))
        details = {name: str(value) for name, value in asdict(price).items() if value is not None}
        record(
            connection,
            price.organisation or operator,
            "usage_price.set",
            target=price.kind,
            details=details,
        )
    return price


def list_prices(connection: Connection[Any], organisation: str | None = None) -> list[UsagePrice]:
    """Return the prices, ordered by kind, organisation, model and time.

    Args:
        organisation: if given, return only prices for all organisations and prices of this organisation.
    """
    if organisation is None:
        return _rows(connection, "list_of_all", {})
    return _rows(connection, "list", {"organisation": organisation})


def price_changes(
    connection: Connection[Any], organisation: str, start: datetime, end: datetime
) -> list[datetime]:
    """Return the times between ``start`` and ``end`` at which a price of the organisation may change."""
    values = {"organisation": organisation, "start": start, "end": end}
    return [change for (change,) in connection.execute(SQL["changes"], values).fetchall()]


def _check(price: UsagePrice, *, retroactive: bool) -> None:
    if price.kind not in UNITS:
        raise InvalidInput(f"kind is {price.kind!r}; it must be one of {', '.join(UNITS)}", param="kind")
    exponent = price.price.as_tuple().exponent
    if not isinstance(exponent, int) or not 0 <= price.price < MAX_PRICE or -exponent > MAX_DECIMALS:
        raise InvalidInput(
            f"price is {price.price}; it must be 0 or more, less than 10^12, with at most {MAX_DECIMALS} "
            "decimals",
            param="price",
        )
    for name in ("valid_from", "valid_to"):
        moment: datetime | None = getattr(price, name)
        if moment is not None and moment.timestamp() % 3600:
            raise InvalidInput(f"{name} is {moment}; it must be a full hour in UTC", param=name)
    if price.valid_to is not None and price.valid_to <= price.valid_from:
        raise InvalidInput("valid_to must be after valid_from", param="valid_to")
    if price.valid_from < datetime.now(UTC) and not retroactive:
        raise InvalidInput(
            f"valid_from is {price.valid_from}, which is in the past, so earlier costs would change: choose "
            "a later time, or permit this with --retroactive",
            param="valid_from",
        )


def _outside(others: list[UsagePrice], new: UsagePrice) -> Iterator[UsagePrice]:
    """Yield the parts of the other periods that are before or after the new period."""
    for other in others:
        if other.valid_from < new.valid_from:
            yield replace(other, valid_to=new.valid_from)
        if new.valid_to is not None and (other.valid_to is None or other.valid_to > new.valid_to):
            yield replace(other, valid_from=new.valid_to)


def _rows(connection: Connection[Any], statement: str, values: dict[str, Any]) -> list[UsagePrice]:
    with connection.cursor(row_factory=class_row(UsagePrice)) as cursor:
        return cursor.execute(SQL[statement], values).fetchall()
