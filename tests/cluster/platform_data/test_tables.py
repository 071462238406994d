"""The handbook's page names every column of the platform's tables, and every key begins with the owner."""

import re
from pathlib import Path
from typing import Any

from psycopg import Connection

PAGE = Path(__file__).resolve().parents[3] / "docs" / "platform-data.md"
TABLES = ["agents", "conversations", "customer_erasures", "customer_events", "customers", "messages"]


def test_the_page_names_every_column(connection: Connection[Any]) -> None:
    found = dict(
        connection.execute(
            "SELECT relname::text, array_agg(attname::text) FROM pg_class JOIN pg_attribute ON attrelid = oid"
            " WHERE relname = ANY (%s) AND relkind = 'r' AND attnum > 0 GROUP BY relname",
            [TABLES],
        ).fetchall()
    )
    sections = {part.splitlines()[0]: part for part in PAGE.read_text().split("\n### ")[1:]}
    documented = {
        table: set(re.findall(r"`(\w+)`", " ".join(re.findall(r"(?m)^\| (`[^|]*)\|", text))))
        for table, text in sections.items()
    }
    assert documented == {table: set(columns) for table, columns in found.items()}


def test_every_key_begins_with_the_organisation(connection: Connection[Any]) -> None:
    keys = connection.execute(
        "SELECT conrelid::regclass::text, attname::text FROM pg_constraint"
        " JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]"
        " WHERE contype IN ('p', 'u', 'f') AND conrelid::regclass::text = ANY (%s)",
        [TABLES],
    ).fetchall()
    assert {table for table, _ in keys} == set(TABLES)
    assert {column for _, column in keys} == {"organisation"}
