"""Write events into a file, or insert events into the database in the same way as ``POST /v1/events``.

write_file(Path("events.parquet"), sent_events(platform))
insert_events(pool, "acme", sent_events(platform))
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import InvalidInput
from cluster.platform_data.ingestion import ingest
from cluster.platform_data.read_events import read_events

#: Number of events in one row group of Parquet, and in one write of JSON lines.
ROWS_AT_ONCE = 50_000
#: Number of events that are inserted in one transaction.
EVENTS_PER_TRANSACTION = 2_000
COLUMNS = ("id", "source", "type", "time", "subject", "data")
SCHEMA = pa.schema([(name, pa.string()) for name in COLUMNS])


def write_file(path: Path, events: Iterable[dict[str, Any]]) -> None:
    """Write the events as JSON lines or as Parquet. The ending of the name decides which format is written.

    In Parquet, the column ``data`` is text with JSON.

    Raises:
        InvalidInput: the name ends neither in ``.jsonl`` nor in ``.parquet``.
    """
    if path.suffix == ".jsonl":
        with path.open("wb") as file:
            for part in _parts(events, ROWS_AT_ONCE):
                file.writelines(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE) for event in part)
    elif path.suffix == ".parquet":
        with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
            for part in _parts(events, ROWS_AT_ONCE):
                rows = [{**event, "data": orjson.dumps(event["data"]).decode()} for event in part]
                writer.write_table(
                    pa.table({name: [row[name] for row in rows] for name in COLUMNS}, schema=SCHEMA)
                )
    else:
        raise InvalidInput(f"the name of {path} must end in .jsonl or .parquet")


def insert_events(pool: ConnectionPool, organisation: str, events: Iterable[dict[str, Any]]) -> int:
    """Insert the events, and return how many events were new.

    Raises:
        InvalidInput: an event is wrong, or its customer is erased. Events that were inserted before stay.
    """
    accepted = 0
    for part in _parts(events, EVENTS_PER_TRANSACTION):
        checked, faults = read_events(organisation, part)
        with translated(), pool.connection() as connection:
            # Commit without a wait for the disk. If the database crashes, only whole transactions are lost,
            # and the command can be run again.
            connection.execute("SET LOCAL synchronous_commit = off")
            ingested = ingest(connection, organisation, checked)
        for fault in [*faults, *ingested.faults]:
            raise InvalidInput(f"event {fault.id}: {fault.field} {fault.message}")
        accepted += ingested.accepted
    return accepted


def _parts(events: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(events)
    while part := list(islice(iterator, size)):
        yield part
