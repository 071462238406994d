"""Types of a file of agents: its rows with the lines of their fields, and the faults in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: Maximum size of a file of agents in bytes, and maximum number of its agents.
MAX_FILE_BYTES, MAX_AGENTS = 32 * 1024 * 1024, 10_000

#: The place of a value in an object, such as ("retrieval", "k") or ("knowledge", 0, "file").
Path = tuple[str | int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentFault:
    """Says what is wrong with one value of a file or a request."""

    #: Position of the agent, from 1; None if the fault is not in an agent.
    row: int | None
    #: Line of the file, from 1; None for a request and for a value without a known line.
    line: int | None
    #: The place of the value, such as ``agents[3].retrieval.k``. Empty for the whole file.
    path: str
    message: str

    def __str__(self) -> str:
        line = "" if self.line is None else f"line {self.line:,}: "
        return f"{line}{self.path}{': ' if self.path else ''}{self.message}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """A value, and the lines of the values inside it."""

    value: Any
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line_of(self, path: Sequence[str | int]) -> int | None:
        """Return the line of the value at this path, or else of the nearest value around it; None if no line
        is known.
        """
        for end in range(len(path), -1, -1):
            if tuple(path[:end]) in self.lines:
                return self.lines[tuple(path[:end])]
        return None


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRows:
    """The content of a file of agents before its values are checked."""

    #: The agents in the order of the file. The value of an agent should be an object, but is not checked yet.
    agents: Sequence[Located] = ()
    defaults: Located = field(default_factory=lambda: Located(value={}))
    faults: Sequence[AgentFault] = ()


def shown_path(prefix: str, path: Sequence[str | int]) -> str:
    """Return the path as text: ``shown_path("agents[0]", ("knowledge", 2, "file"))`` is
    ``agents[0].knowledge[2].file``.
    """
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return (prefix + "".join(parts)).removeprefix(".")
