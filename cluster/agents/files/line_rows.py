"""Reads agents from JSON lines and CSV. ``reading`` calls these functions.

In JSON lines, each line is one agent, and the first line may be ``{"defaults": {...}}``. In CSV, the first
line names the columns. A column can be a field such as ``name``, a part of a field such as ``retrieval.k`` or
``metadata.team``, or a column of ``LISTS``, such as ``knowledge.file``, which can have several values,
separated by ``;``.
"""

import csv
import io
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from cluster.agents.files.agent_rows import AgentFault, AgentRows, Located, Path
from cluster.agents.files.yaml_rows import WrongFile

#: Separates several values in one field of CSV.
SEPARATOR = ";"
#: Maximum number of characters of one field of CSV.
MAX_FIELD_CHARACTERS = 1_100_000
LISTS = frozenset({"knowledge.file", "knowledge.file_id", "knowledge.url", "knowledge.vector_store_id"})
TEXTS = frozenset(
    {"external_id", "name", "model", "instructions", "role", "goal", "backstory", "greeting"}
    | {"retrieval.no_answer", "knowledge.text"}
)


def read_json_lines(text: str) -> AgentRows:
    """Read one agent from each line that is not blank. The first line may give the defaults instead. A line
    that is not JSON becomes a fault.
    """
    agents: list[Located] = []
    defaults = Located(value={})
    faults: list[AgentFault] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        lines: dict[Path, int] = {(): number}
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as exc:
            message = f"the line is not JSON: {exc}"
            faults.append(AgentFault(row=None, line=number, path="", message=message))
            continue
        if isinstance(value, dict) and value.keys() == {"defaults"} and not agents:
            defaults = Located(value=value["defaults"], lines=lines)
        else:
            agents.append(Located(value=value, lines=lines))
    return AgentRows(agents=agents, defaults=defaults, faults=faults)


def read_csv(text: str) -> AgentRows:
    """Read one agent from each record.

    Raises:
        WrongFile: the text is not CSV, has an unknown column, has a column twice, or has a record with more
            fields than columns.
    """
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, restkey="")
    agents: list[Located] = []
    try:
        columns = list(reader.fieldnames or ())
        for name in columns:
            if not _is_column(name):
                raise WrongFile(f"the column {name!r} is not known; see docs/agents.md for the columns", 1)
        if len(set(columns)) < len(columns):
            raise WrongFile("a column is given twice; remove one of the two", 1)
        before = reader.line_num
        for record in reader:
            if "" in record:
                raise WrongFile(f"the record has more than {len(columns)} fields", before + 1)
            agents.append(Located(value=_agent(record), lines={(): before + 1}))
            before = reader.line_num
    except csv.Error as exc:
        raise WrongFile(f"the file is not CSV: {exc}", reader.line_num) from exc
    return AgentRows(agents=agents)


def _is_column(name: str) -> bool:
    return name in TEXTS or name in LISTS or name in CONVERTED or name.startswith("metadata.")


def _agent(record: Mapping[str, str | None]) -> dict[str, Any]:
    agent: dict[str, Any] = {}
    for column, text in record.items():
        if not text:
            continue
        field, _, part = column.partition(".")
        if field == "knowledge":
            values = text.split(SEPARATOR) if column in LISTS else [text]
            entries = [{part: value.strip() if column in LISTS else value} for value in values]
            agent.setdefault("knowledge", []).extend(entries)
        elif part:
            agent.setdefault(field, {})[part] = CONVERTED.get(column, str)(text)
        else:
            agent[field] = CONVERTED.get(column, str)(text)
    return agent


def _number(text: str) -> Any:
    """Return the number in the text; any other text is returned unchanged, so that its check fails."""
    try:
        return float(text)
    except ValueError:
        return text


def _whole(text: str) -> Any:
    return int(text) if text.strip().isdecimal() else _number(text)


def _boolean(text: str) -> Any:
    return {"true": True, "false": False}.get(text.strip().lower(), text)


#: Columns whose values are not texts.
CONVERTED: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {
        "temperature": _number,
        "record_conversations": _boolean,
        "retrieval.k": _whole,
        "retrieval.threshold": _number,
        "retrieval.rerank": _boolean,
    }
)
