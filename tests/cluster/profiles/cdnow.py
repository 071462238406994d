"""Loads the purchases of CDNOW: 69,659 purchases of 23,570 customers, January 1997 to June 1998."""

from pathlib import Path

import pandas as pd
import pytest
from psycopg.types.json import Jsonb
from psycopg_pool import ConnectionPool

from cluster.platform_data.ids import row_id
from tests.conftest import ROOT

FILE = ROOT.parent / "shared" / "data" / "purchases" / "CDNOW_master.txt"


def read_purchases(path: Path = FILE, *, thinned: int = 1) -> pd.DataFrame:
    """The purchases in the order of the file: ``customer``, ``at`` (UTC) and ``amount`` as its text.

    ``thinned``: only every nth customer.
    """
    if not path.is_file():
        pytest.skip(f"the purchases of CDNOW are not at {path}")
    names = ["customer", "date", "items", "amount"]
    table = pd.read_csv(path, sep=r"\s+", header=0, names=names, dtype=str)
    table = table[table.customer.astype(int) % thinned == 0].reset_index(drop=True)
    return table.assign(at=pd.to_datetime(table.date, format="%Y%m%d", utc=True))


def load_purchases(pool: ConnectionPool, organisation: str, table: pd.DataFrame) -> None:
    """Copy the purchases into the tables, with the rows that the statement of the route would write."""
    ids = {name: row_id("cust", organisation, name) for name in table.customer.unique()}
    seen = table.groupby("customer").at.agg(["min", "max"])
    with pool.connection() as connection:
        with connection.cursor().copy(
            "COPY customers (organisation, id, external_id, first_seen_at, last_seen_at) FROM STDIN"
        ) as copy:
            for name, first, last in seen.itertuples():
                copy.write_row((organisation, ids[name], name, first, last))
        with connection.cursor().copy(
            "COPY customer_events (organisation, source, id, type, occurred_at, customer, properties)"
            " FROM STDIN"
        ) as copy:
            for number, name, at, amount in table[["customer", "at", "amount"]].itertuples():
                data = Jsonb({"amount": amount, "currency": "USD"})
                row = (organisation, "/cdnow", f"{number:06d}", "purchase.completed", at, ids[name], data)
                copy.write_row(row)
