"""Reads agents from YAML and JSON, with the line of each value.

``reading`` calls these functions. The values of JSON come from Python's JSON parser, and the lines come from
the YAML parser, because most JSON is YAML, too. Aliases of YAML may repeat a value many times, so the number
of values is limited.
"""

import json
from collections.abc import Iterator
from typing import Any

import yaml

from cluster.agents.files.agent_rows import AgentFault, AgentRows, Located, Path, shown_path

#: Maximum number of values in a file, and maximum depth of a value. An alias counts each time it is used.
MAX_VALUES, MAX_DEPTH = 1_000_000, 32
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class WrongFile(Exception):
    """Raised if the file cannot be read at all.

    Args:
        message: says what is wrong and what to do.
        line: line of the fault, from 1; None if it is unknown.
    """

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def read_yaml(text: str) -> AgentRows:
    """Read agents from YAML: an object with ``agents`` and perhaps ``defaults``, or a list of agents.

    Raises:
        WrongFile: the text is not YAML, has too many values, is nested too deeply, or has no list of agents.
    """
    located, twice = _located(text)
    return _rows(located, twice)


def read_json(text: str) -> AgentRows:
    """Read agents from JSON in the same form as YAML.

    Raises:
        WrongFile: the text is not JSON, has too many values, or has no list of agents.
    """
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as exc:
        line = exc.lineno if isinstance(exc, json.JSONDecodeError) else None
        raise WrongFile(f"the file is not JSON: {exc}", line) from exc
    try:
        located, twice = _located(text)
    except WrongFile as exc:
        if "values" in str(exc):
            raise
        return _rows(Located(value=value), [])  # some JSON is not YAML, so its lines are unknown
    return _rows(Located(value=value, lines=located.lines), twice)


def _rows(located: Located, twice: list[Path]) -> AgentRows:
    faults = [
        AgentFault(row=None, line=located.line_of(path), path=shown_path("", path), message="is given twice")
        for path in twice
    ]
    value = located.value
    if isinstance(value, list):
        return AgentRows(agents=_parts(located, ()), faults=faults)
    if not isinstance(value, dict):
        raise WrongFile("the file must hold a list of agents, or an object with the field agents")
    for name in value.keys() - {"agents", "defaults"}:
        message = "is not known; a file has the fields agents and defaults"
        faults.append(AgentFault(row=None, line=located.line_of((name,)), path=str(name), message=message))
    if not isinstance(value.get("agents"), list):
        raise WrongFile("the field agents is missing, or is not a list", located.line_of(("agents",)))
    defaults = Located(value=value.get("defaults") or {}, lines=_below(located, ("defaults",)))
    return AgentRows(agents=_parts(located, ("agents",)), defaults=defaults, faults=faults)


def _parts(located: Located, path: Path) -> list[Located]:
    """Return the items of the list at this path, each with the lines inside it."""
    values = located.value if not path else located.value[path[0]]
    lines: list[dict[Path, int]] = [{} for _ in values]
    for place, line in located.lines.items():
        if len(place) > len(path) and place[: len(path)] == path:
            number = place[len(path)]
            if isinstance(number, int) and number < len(lines):
                lines[number][place[len(path) + 1 :]] = line
    return [Located(value=value, lines=own) for value, own in zip(values, lines, strict=True)]


def _below(located: Located, path: Path) -> dict[Path, int]:
    return {place[len(path) :]: line for place, line in located.lines.items() if place[: len(path)] == path}


def _located(text: str) -> tuple[Located, list[Path]]:
    """Return the value of the text with the line of each value, and the paths of keys that an object has
    twice.
    """
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            raise WrongFile("the file is empty")
        lines: dict[Path, int] = {}
        twice: list[Path] = []
        value = _value(loader, node, (), lines, twice)
        return Located(value=value, lines=lines), twice
    except yaml.YAMLError as exc:
        mark = getattr(exc, "problem_mark", None)
        problem = getattr(exc, "problem", None) or exc
        raise WrongFile(f"the file is not YAML: {problem}", mark and mark.line + 1) from exc
    except (ValueError, RecursionError) as exc:  # ValueError, for example, for the date 2026-02-30
        raise WrongFile(f"the file is not YAML: {exc}") from exc
    finally:
        loader.dispose()


def _value(loader: Any, node: Any, path: Path, lines: dict[Path, int], twice: list[Path]) -> Any:
    if len(path) > MAX_DEPTH:
        raise WrongFile(f"the file is nested deeper than {MAX_DEPTH} levels", node.start_mark.line + 1)
    if len(lines) >= MAX_VALUES:
        raise WrongFile(f"the file has more than {MAX_VALUES:,} values; divide it into several files")
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_value(loader, one, (*path, number), lines, twice) for number, one in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for name, line, one in _fields(node):
            if name in made:
                twice.append((*path, name))
            made[name] = _value(loader, one, (*path, name), lines, twice)
            lines[(*path, name)] = line
        return made
    return loader.construct_object(node)


def _fields(node: Any) -> Iterator[tuple[str, int, Any]]:
    """Yield the name, the line and the value of each field of an object."""
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise WrongFile("a key is not a text", key.start_mark.line + 1)
        yield str(key.value), key.start_mark.line + 1, value
