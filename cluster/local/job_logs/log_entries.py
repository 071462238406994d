"""Read the log lines of a process, and keep the lines that belong to a job or to the job's trace.

``cluster.logs`` writes each line as a JSON object, or in a form for people. Lines without a time, such as
those of a traceback, belong to the line before them.

    for entry in matching(lines, [job.id, trace_id], source="worker-1.err"):
        print(entry.shown())
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

#: Colours of a terminal, which the form for people may have.
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
#: Matches the time, the level, and the rest of a line in the form for people.
FOR_PEOPLE = re.compile(r"(\d{4}-\d\d-\d\dT[\d:.]+)(?:Z|\+00:00)? +\[(\w+) *\] +(\S.*)")
#: Maximum number of lines that are kept after the first line of an entry.
MAX_MORE_LINES = 200
#: Fields of a JSON line that do not become ``fields`` of an entry, because the entry has attributes for them.
PLACED = ("timestamp", "level", "event", "process", "pid", "exception")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogEntry:
    """One line of a log, or what the database knows about one event, attempt or stage of a job."""

    at: datetime
    #: The process, with its id if it is known, or ``database``.
    process: str
    level: str
    event: str
    fields: Mapping[str, Any]
    #: The lines that follow the first line, such as those of a traceback.
    more: tuple[str, ...] = ()

    def shown(self) -> str:
        """Return the entry as lines for people."""
        fields = " ".join(f"{name}={_plain(value)}" for name, value in self.fields.items())
        at = self.at.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")
        first = f"{at}  {self.process:<16} {self.level:<8} {self.event}"
        return "\n".join(
            [_printable(f"{first}  {fields}".rstrip()), *(f"    {_printable(line)}" for line in self.more)]
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the entry as values that JSON can represent."""
        return {
            "at": self.at.astimezone(UTC).isoformat(),
            "process": self.process,
            "level": self.level,
            "event": self.event,
            "fields": dict(self.fields),
            "more": list(self.more),
        }


def matching(lines: Iterable[str], ids: Sequence[str], *, source: str) -> Iterator[LogEntry]:
    """Yield an entry for each line that has a time and contains one of the ids. The next lines belong to the
    same entry until a line begins another entry.

    Args:
        lines: the lines of one file.
        ids: the id of the job, and the id of its trace.
        source: the name of the process for lines that do not name their process.
    """
    last: LogEntry | None = None
    for line in lines:
        text = COLOURS.sub("", line.rstrip("\r\n"))
        if not any(id in text for id in ids):
            if last is not None and len(last.more) < MAX_MORE_LINES and not _begins(text):
                last = replace(last, more=(*last.more, text))
                continue
            if last is not None:
                yield last
            last = None
            continue
        if (entry := _entry(text, source)) is not None:
            if last is not None:
                yield last
            last = entry
        elif last is not None and len(last.more) < MAX_MORE_LINES:
            last = replace(last, more=(*last.more, text))
    if last is not None:
        yield last


def _begins(text: str) -> bool:
    """Return True if the text is the first line of an entry, also of an entry about another job."""
    return text.startswith("{") or FOR_PEOPLE.match(text) is not None


def _entry(text: str, source: str) -> LogEntry | None:
    """Return the entry that begins with this line; None if the line has no time and so begins no entry."""
    if text.startswith("{"):
        try:
            line = json.loads(text)
            at = _time(line["timestamp"])
        # A line of another program, or a line that a crash cut short, or a line of many nested lists.
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        name, pid = line.get("process", source), line.get("pid")
        return LogEntry(
            at=at,
            process=f"{name} {pid}" if pid else str(name),
            level=str(line.get("level", "")),
            event=str(line.get("event", "")),
            fields={name: value for name, value in line.items() if name not in PLACED},
            more=tuple(str(line.get("exception", "")).splitlines()[:MAX_MORE_LINES]),
        )
    if (found := FOR_PEOPLE.match(text)) is None:
        return None
    time, level, rest = found.groups()
    try:
        at = _time(time)
    except ValueError:
        return None
    event, _, fields = rest.partition("  ")
    process = re.search(r"\bprocess=(\S+)", fields)
    return LogEntry(
        at=at,
        process=process[1] if process else source,
        level=level,
        event=event,
        fields={"text": fields.strip()} if fields.strip() else {},
    )


def _time(text: str) -> datetime:
    """Return the time. A time without a zone is in UTC, as in the form for people."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _printable(line: str) -> str:
    """Return the line with an escape such as ``\\x1b`` in place of each character that controls a terminal,
    because a line can contain text of documents.
    """
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in line.expandtabs(4)
    )


def _plain(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)
