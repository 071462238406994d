"""Write events into a file, or insert events into the database in the same way as ``POST /v1/events``.

write_file(Path("events.parquet"), sent_events(platform))
insert_platform(pool, platform, "acme", print)
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from psycopg_pool import ConnectionPool

from cluster.database import translated
from cluster.errors import InvalidInput
from cluster.platform_data.ingestion import ingest_rows
from data_jobs.platform_data.event_rows import event_rows
from data_jobs.platform_data.invented_platform import InventedPlatform

#: Number of events in one row group of Parquet, and in one write of JSON lines.
ROWS_AT_ONCE = 50_000
#: Number of transactions that insert generated events at the same time. One transaction uses one core of the
#: database.
CONNECTIONS = 2
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


def insert_platform(
    pool: ConnectionPool, platform: InventedPlatform, organisation: str, advance: Callable[[int], None]
) -> int:
    """Insert the events of the platform, and return how many events were new. ``CONNECTIONS`` transactions
    insert rows at the same time, while a thread computes the next rows.

    Args:
        advance: is called after each transaction with the number of sent events that are done.

    Raises:
        InvalidInput: the customer of an event is erased. Events that were inserted before stay.
    """
    accepted = done = 0
    parts = event_rows(platform, organisation, texts=CONNECTIONS)
    insert = partial(_insert_text, pool, organisation)
    with ThreadPoolExecutor(1 + CONNECTIONS) as threads:
        following = threads.submit(next, parts, None)
        while (part := following.result()) is not None:
            following = threads.submit(next, parts, None)
            accepted += sum(threads.map(insert, part.texts))
            done += part.sent
            advance(done)
    return accepted


def _insert_text(pool: ConnectionPool, organisation: str, text: memoryview) -> int:
    with translated(), pool.connection() as connection:
        # Commit without a wait for the disk. If the database crashes, only whole transactions are lost,
        # and the command can be run again.
        connection.execute("SET LOCAL synchronous_commit = off")
        accepted, refused = ingest_rows(connection, organisation, [bytes(text)])
        for fault in refused:
            raise InvalidInput(f"event {fault.id}: {fault.field} {fault.message}")
    return accepted


def _parts(events: Iterable[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    iterator = iter(events)
    while part := list(islice(iterator, size)):
        yield part
