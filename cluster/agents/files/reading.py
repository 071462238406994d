"""Reads a file of agents, and finds all faults in the file together, each with its line and its path.

The command ``create_agents`` and the routes of agents call these functions.

    checked = check(read_agents(data, name="agents.yaml"))
    checked.faults, checked.agents
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from cluster.agents.definition import AgentDefinition, AgentKnowledge, AgentSettings
from cluster.agents.files.agent_rows import (
    MAX_AGENTS,
    MAX_FILE_BYTES,
    AgentFault,
    AgentRows,
    Located,
    shown_path,
)
from cluster.agents.files.line_rows import read_csv, read_json_lines
from cluster.agents.files.yaml_rows import WrongFile, read_json, read_yaml

#: For each suffix of a file's name, the function that reads such a file.
FORMATS: Mapping[str, Callable[[str], AgentRows]] = MappingProxyType(
    {
        ".yaml": read_yaml,
        ".yml": read_yaml,
        ".json": read_json,
        ".jsonl": read_json_lines,
        ".csv": read_csv,
    }
)
#: The fields that describe what the agent is to do. An agent with one of them takes none of them
#: from the defaults.
PROMPT = ("instructions", "role", "goal", "backstory")


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedAgent:
    """An agent whose definition has no fault."""

    #: Position of the agent, from 1.
    number: int
    given: Located
    definition: AgentDefinition


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeReference:
    """An entry of the knowledge of an agent or of the defaults. It may name a thing that does not exist."""

    knowledge: AgentKnowledge
    #: Position of the agent, from 1; None for an entry of the defaults.
    number: int | None
    given: Located
    #: Position of the entry in its list, from 0.
    entry: int

    def fault(self, field: str, message: str) -> AgentFault:
        """Return a fault in this field of the entry."""
        path = ("knowledge", self.entry, field)
        if self.number is None:
            return _default_fault(self.given, path, message)
        return _fault(self.number, self.given, path, message)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedAgents:
    """The agents of a file that have no fault, and all faults in the file."""

    agents: Sequence[CheckedAgent]
    faults: Sequence[AgentFault]
    #: The correct entries of the knowledge of the defaults and of all agents, also of agents with faults.
    references: Sequence[KnowledgeReference] = ()


def read_rows(
    data: bytes, *, name: str, formats: Mapping[str, Callable[[str], AgentRows]], max_bytes: int
) -> AgentRows:
    """Read the rows of a file with the function for the suffix of the file's name.

    Raises:
        WrongFile: no function reads files of this name, the file is too large or not UTF-8, or the function
            cannot read the file.
    """
    suffix = next((one for one in formats if name.lower().endswith(one)), None)
    if suffix is None:
        raise WrongFile(f"the file's name is {name!r}; it must end in one of {', '.join(formats)}")
    if len(data) > max_bytes:
        limit = f"the limit is {max_bytes:,}; divide it into several files"
        raise WrongFile(f"the file has {len(data):,} bytes; {limit}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        raise WrongFile("the file is not UTF-8; save it in UTF-8", line) from exc
    return formats[suffix](text)


def read_agents(data: bytes, *, name: str) -> AgentRows:
    """Read the rows of a file. A file that cannot be read, or has no agent, gives one fault and no row.

    Args:
        data: the whole file, in UTF-8.
        name: name of the file, whose suffix tells its format.
    """
    try:
        rows = read_rows(data, name=name, formats=FORMATS, max_bytes=MAX_FILE_BYTES)
    except WrongFile as exc:
        return AgentRows(faults=[AgentFault(row=None, line=exc.line, path="", message=str(exc))])
    if not rows.agents and not rows.faults:
        return AgentRows(faults=[AgentFault(row=None, line=None, path="", message="the file has no agent")])
    return rows


def check(rows: AgentRows) -> CheckedAgents:
    """Check every agent, and return the definitions with the defaults applied, and all faults. If there are
    more than ``MAX_AGENTS`` agents, this is a fault, and no agent is checked.
    """
    faults = list(rows.faults)
    if len(rows.agents) > MAX_AGENTS:
        message = f"{len(rows.agents):,} agents are given; the limit is {MAX_AGENTS:,}"
        return CheckedAgents(
            agents=[], faults=[*faults, AgentFault(row=None, line=None, path="agents", message=message)]
        )
    defaults = _checked_defaults(rows.defaults, faults)
    agents: list[CheckedAgent] = []
    seen: dict[str, int] = {}
    for number, given in enumerate(rows.agents, start=1):
        definition = _checked(number, given, defaults, faults)
        external_id = given.value.get("external_id") if isinstance(given.value, dict) else None
        if isinstance(external_id, str):
            first = seen.setdefault(external_id, number)
            if first != number:
                message = f"agent {first} has this id, too; each id may be given once"
                faults.append(_fault(number, given, ("external_id",), message))
                continue
        if definition is not None:
            agents.append(CheckedAgent(number=number, given=given, definition=definition))
    references = [
        *knowledge_references(None, rows.defaults),
        *(one for number, given in enumerate(rows.agents, 1) for one in knowledge_references(number, given)),
    ]
    return CheckedAgents(agents=agents, faults=sorted(faults, key=_order), references=references)


def knowledge_references(number: int | None, given: Located) -> Iterator[KnowledgeReference]:
    """Yield the entries of the knowledge that have no fault. They may name things that do not exist."""
    entries = given.value.get("knowledge") if isinstance(given.value, dict) else None
    for position, entry in enumerate(entries if isinstance(entries, list) else ()):
        with suppress(ValidationError):  # not raised, because ``check`` reports the faults of the entry
            yield KnowledgeReference(
                knowledge=AgentKnowledge.model_validate(entry), number=number, given=given, entry=position
            )


def _order(fault: AgentFault) -> tuple[int, int]:
    return fault.row or 0, fault.line or 0


def _checked_defaults(given: Located, faults: list[AgentFault]) -> dict[str, Any]:
    """Add the faults of the defaults to ``faults``. Return the fields of the defaults that have no fault."""
    try:
        AgentSettings.model_validate(given.value)
        return dict(given.value)
    except ValidationError as exc:
        errors = exc.errors(include_url=False, include_input=False)
    for error in errors:
        faults.append(_default_fault(given, error["loc"], _sentence(error["msg"])))
    wrong = {error["loc"][0] if error["loc"] else None for error in errors}
    if None in wrong or not isinstance(given.value, dict):
        return {}
    return {name: value for name, value in given.value.items() if name not in wrong}


def _checked(
    number: int, given: Located, defaults: Mapping[str, Any], faults: list[AgentFault]
) -> AgentDefinition | None:
    try:
        # First without the defaults, because entries of the defaults change the positions in faults.
        AgentDefinition.model_validate(given.value)
        return AgentDefinition.model_validate(with_defaults(given.value, defaults))
    except ValidationError as exc:
        for error in exc.errors(include_url=False, include_input=False):
            faults.append(_fault(number, given, error["loc"], _sentence(error["msg"])))
        return None


def with_defaults(agent: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of the agent with the defaults applied.

    Fields of the agent replace defaults. ``retrieval`` and ``metadata`` are merged field by field. The
    knowledge of the defaults comes first, and then the agent's own knowledge.
    """
    own = {name: value for name, value in agent.items() if value is not None}
    taken = {name: value for name, value in defaults.items() if value is not None}
    if any(name in own for name in PROMPT):
        taken = {name: value for name, value in taken.items() if name not in PROMPT}
    merged = {**taken, **own}
    for name in ("retrieval", "metadata"):
        if name in taken and name in own:
            merged[name] = {**taken[name], **own[name]}
    if "knowledge" in taken and "knowledge" in own:
        merged["knowledge"] = [*taken["knowledge"], *own["knowledge"]]
    return merged


def _fault(number: int, given: Located, path: Sequence[str | int], message: str) -> AgentFault:
    return AgentFault(
        row=number,
        line=given.line_of(path),
        path=shown_path(f"agents[{number - 1}]", path),
        message=message,
    )


def _default_fault(given: Located, path: Sequence[str | int], message: str) -> AgentFault:
    return AgentFault(row=None, line=given.line_of(path), path=shown_path("defaults", path), message=message)


def _sentence(message: str) -> str:
    """Return a message of pydantic in the form of this project: it begins in lower case."""
    return message[:1].lower() + message[1:]
