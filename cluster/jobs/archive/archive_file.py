"""Writes jobs that have ended to Parquet files, in a folder or a bucket, one row for each job.

    archive_url/day=2026-11-24/organisation=default/<time and id of the first job in the file>.parquet

A row holds the job's attempts, stages and events too. A Parquet reader can read the day and the
organisation from the path. JSON columns (input, result, run_window, an event's data) are text. Called by
``retention``.

    archive = open_archive(settings)
    archive.write("default", date(2026, 11, 24), jobs)
"""

import io
import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from cluster.errors import Misconfigured, Unavailable
from cluster.settings import Settings

TIME = pa.timestamp("us", "UTC")
ATTEMPT = [
    ("attempt", pa.int32()),
    ("worker", pa.string()),
    ("started_at", TIME),
    ("ended_at", TIME),
    ("outcome", pa.string()),
]
STAGE = [
    ("attempt", pa.int32()),
    ("stage", pa.string()),
    ("tries", pa.int32()),
    ("started_at", TIME),
    ("ended_at", TIME),
]
EVENT = [("id", pa.int64()), ("at", TIME), ("type", pa.string()), ("data", pa.string())]
TEXTS = (
    "id",
    "kind",
    "state",
    "priority_class",
    "subject",
    "schedule",
    "run_window",
    "input",
    "result",
    "error",
    "error_code",
    "unit",
    "worker",
    "stage",
    "traceparent",
)
SCHEMA = pa.schema(
    [
        *[(name, pa.string()) for name in TEXTS],
        *[(name, pa.int64()) for name in ("priority", "done", "total", "attempt", "last_attempt")],
        *[(name, TIME) for name in ("scheduled_for", "created_at", "started_at", "finished_at")],
        ("attempts", pa.list_(pa.struct([*ATTEMPT, ("error", pa.string())]))),
        ("stages", pa.list_(pa.struct([*STAGE, ("error", pa.string())]))),
        ("events", pa.list_(pa.struct(EVENT))),
    ]
)
#: Columns of a job that hold lists. The lengths of these lists are checked after writing.
LISTS = ("attempts", "stages", "events")
JSON = ("input", "result", "run_window", "data")
RETRY_AFTER_S = 30.0


class Archive:
    """Writes jobs that have ended to the archive."""

    def __init__(self, filesystem: Any, root: str) -> None:
        self._files = filesystem
        self._root = root
        self._local = isinstance(filesystem, LocalFileSystem)

    def write(self, organisation: str, day: date, jobs: Sequence[dict[str, Any]]) -> str:
        """Write the jobs to a durable file, read the file back, and return the file's path.

        The name of the file comes from the first job. So if the same jobs are written again after a crash,
        the new file replaces the earlier one.

        Raises:
            Unavailable: the storage is full, does not answer, or does not return what was written.
        """
        first = min(jobs, key=lambda job: (job["finished_at"], job["id"]))
        name = f"{first['finished_at'].astimezone(UTC):%H%M%S.%f}-{first['id']}.parquet"
        path = f"{self._root}/day={day.isoformat()}/organisation={quote(organisation, safe='')}/{name}"
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([_row(job) for job in jobs], SCHEMA), buffer, compression="zstd")
        try:
            self._put(path, buffer.getvalue())
            kept = self._counts(path)
        except OSError as exc:
            raise Unavailable(
                f"the archive {path} cannot be written: {exc}", retry_after_s=RETRY_AFTER_S
            ) from exc
        meant = [len(jobs), *(sum(len(job[name]) for job in jobs) for name in LISTS)]
        if kept != meant:
            raise Unavailable(
                f"the archive {path} holds {kept} rows where {meant} were written; nothing was deleted",
                retry_after_s=RETRY_AFTER_S,
            )
        return path

    def delete_organisation(self, organisation: str) -> int:
        """Delete the files with the organisation's archived jobs, and return the number of these files.

        Raises:
            Unavailable: the storage does not answer.
        """
        pattern = f"{self._root}/day=*/organisation={quote(organisation, safe='')}/*"
        try:
            self._files.invalidate_cache()
            found = list(self._files.glob(pattern))
            for path in found:
                with suppress(FileNotFoundError):  # another attempt may delete the same file
                    self._files.rm_file(path)
        except OSError as exc:
            raise Unavailable(
                f"files of the archive {pattern} cannot be deleted: {exc}", retry_after_s=RETRY_AFTER_S
            ) from exc
        return len(found)

    def _put(self, path: str, data: bytes) -> None:
        """Write the whole file or nothing. A local disk needs a rename for this; object stores do not."""
        if not self._local:
            self._files.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.draft")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(target)
        for folder in (
            target.parent,
            *target.parent.parents[:3],
        ):  # organisation, day, archive, its parent: a power failure must lose no new name
            _sync_folder(folder)

    def _counts(self, path: str) -> list[int]:
        """Return the numbers of jobs, attempts, stages and events in the file."""
        self._files.invalidate_cache(path)
        with self._files.open(path, "rb") as file:
            try:
                table = pq.read_table(file, columns=["id", *LISTS])
            except pa.ArrowInvalid as exc:
                raise OSError(f"it is not readable as Parquet: {exc}") from exc
        return [table.num_rows, *(sum(len(one) for one in table[name].to_pylist()) for name in LISTS)]


def open_archive(settings: Settings) -> Archive:
    """Open the archive at ``CLUSTER_ARCHIVE_URL``, by default a folder under ``home``.

    Raises:
        Misconfigured: this kind of storage is unknown, or its extra is not installed.
    """
    url = settings.archive_url or str(settings.home / "archive")
    try:
        filesystem, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as exc:
        raise Misconfigured(
            f"CLUSTER_ARCHIVE_URL={url}: {exc}; "
            "buckets need an extra: pip install 'embedding-cluster[s3]' or '[gcs]'"
        ) from exc
    return Archive(filesystem, root.rstrip("/"))


def _row(job: dict[str, Any]) -> dict[str, Any]:
    return {name: _value(name, value) for name, value in job.items()}


def _value(name: str, value: Any) -> Any:
    if name in JSON:
        return None if value is None else json.dumps(value, ensure_ascii=False)
    if name in LISTS:
        return [_row(one) for one in value]
    return value.astimezone(UTC) if isinstance(value, datetime) else value


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def by_day_and_organisation(jobs: Iterable[dict[str, Any]]) -> dict[tuple[date, str], list[dict[str, Any]]]:
    """Group the jobs by the day (UTC) on which they ended and by organisation, as the folders do."""
    parts: dict[tuple[date, str], list[dict[str, Any]]] = {}
    for job in jobs:
        parts.setdefault((job["finished_at"].astimezone(UTC).date(), job["organisation"]), []).append(job)
    return parts
