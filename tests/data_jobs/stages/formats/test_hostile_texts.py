"""Damaged and hostile texts of every format are read as far as possible, in bounded time and memory, and harm
no other document.
"""

import random
from collections.abc import Callable, Mapping

import pytest

from cluster.records import Outcome
from data_jobs.stages.parsing.parser import Parser
from tests.waiting import Stopwatch

#: A valid file of each format, by its suffix.
FILES: Mapping[str, str] = {
    "csv": 'bird;note;EUR\n"Heron; grey";"stands\nstill";1,5\nEgret;white;2\n' * 20,
    "json": '{"birds": [{"name": "Heron", "size": {"cm": 90, "far": [1, [2, {"x": null}]]}}], "on": true}',
    "jsonl": '{"name": "Heron", "cm": 90}\n{"name": "Egret", "tags": ["a", {"b": 1}]}\n' * 20,
    "xml": '<!DOCTYPE b [<!ENTITY e "Egret">]><b id="1"><t>Herons</t><p>Some <i>&e;</i> text</p><r/></b>',
    "rst": "Birds\n=====\n\n- *A* ``x``\n\n+---+---+\n| a | b |\n+---+---+\n\n.. tip:: Be\n   still.\n" * 9,
    "tex": "\\section{Birds}\nHerons \\emph{stand}.\n\\begin{verbatim}\nx\n\\end{verbatim}\n" * 9,
    "adoc": "== Birds\n\nHerons stand.\n\n----\ncode\n----\n" * 9,
    "py": "class Heron:\n    def stand(self):\n        return 'still'\n" * 9,
    "md": "# Birds\n\n| a | b |\n|---|---|\n| Heron | still |\n\n```\ncode\n```\n" * 9,
    "html": "<!doctype html><h1>Birds</h1><table><tr><td>Heron</td></tr></table><pre>x</pre>" * 9,
}  # fmt: skip
#: What begins and ends a nested value or element.
NESTED = {"json": ("[", "]"), "jsonl": ('{"a":', "}"), "xml": ("<a>", "</a>"), "html": ("<div>", "</div>")}
DEPTH = 5_000


def _flipped(data: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(1 + len(data) // 40):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    return bytes(damaged)


def _without(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data))
    return data[:start] + data[start + chance.randrange(1, len(data)) :]


def _shuffled(data: bytes, chance: random.Random) -> bytes:
    lines = data.split(b"\n")
    return b"\n".join(chance.sample(lines, len(lines)))


def _nested(suffix: str, *, ended: bool) -> bytes:
    """Return values inside each other, with their ends or without."""
    opening, closing = NESTED.get(suffix, ('"(', ')"'))
    return ((opening + "x") * DEPTH + closing * DEPTH * ended).encode()


MUTATIONS: Mapping[str, Callable[[bytes, str, random.Random], bytes]] = {
    "first half": lambda data, suffix, chance: data[: len(data) // 2],
    "last half": lambda data, suffix, chance: data[len(data) // 2 :],
    "without its last byte": lambda data, suffix, chance: data[:-1],
    "flipped bytes": lambda data, suffix, chance: _flipped(data, chance),
    "other flipped bytes": lambda data, suffix, chance: _flipped(data, chance),
    "a hole": lambda data, suffix, chance: _without(data, chance),
    "another hole": lambda data, suffix, chance: _without(data, chance),
    "shuffled lines": lambda data, suffix, chance: _shuffled(data, chance),
    "NULs": lambda data, suffix, chance: data.replace(b"e", b"\x00", 3) + b" words",
    "control characters": lambda data, suffix, chance: data.replace(b" ", b"\x1b\x07", 2) + b" words",
    "UTF-16": lambda data, suffix, chance: data.decode().encode("utf-16"),
    "a wrong encoding": lambda data, suffix, chance: data + " Grüße aus Köln, Straße".encode("cp1252"),
    "one endless line": lambda data, suffix, chance: data.replace(b"\n", b" ") * 50,
    "many blank lines": lambda data, suffix, chance: data.replace(b"\n", b"\n" * 50),
    "open quotation marks": lambda data, suffix, chance: data + b"\n\"'`" * 2_000,
    "many delimiters": lambda data, suffix, chance: b",;\t|" * 20_000 + b"\n" + data,
    "many marks": lambda data, suffix, chance: data + b"\n" + b"*`_|:=-<[{\\&" * 300,
    "beginnings without ends": lambda data, suffix, chance: _nested(suffix, ended=False),
    "deep nesting": lambda data, suffix, chance: _nested(suffix, ended=True),
    "long words": lambda data, suffix, chance: data.replace(b"Heron", b"Heron" * 5_000),
    "a gap": lambda data, suffix, chance: b"= 1" + b" " * 200_000 + b"x\n" + data,
    "a first gap": lambda data, suffix, chance: b" " * 200_000 + data,
    "numbers without an end": lambda data, suffix, chance: data.replace(b"9", b"9" * 20_000) + b"9" * 9,
}  # fmt: skip


@pytest.mark.parametrize("suffix", FILES)
def test_every_damaged_file_ends_with_a_right_outcome(parser: Parser, suffix: str) -> None:
    chance, data = random.Random(suffix), FILES[suffix].encode()
    slow, wrong = {}, {}
    for name, mutate in MUTATIONS.items():
        started = Stopwatch()
        parsed = parser.parse(mutate(data, suffix, chance), name=f"a.{suffix}")
        if (took := started.seconds()) > 10:
            slow[name] = took
        # Without words there is nothing to find. A file with many NULs or flips may look binary.
        if parsed.outcome not in {Outcome.OK, Outcome.PARTIAL_TEXT, Outcome.EMPTY, Outcome.UNSUPPORTED}:
            wrong[name] = parsed.outcome, parsed.detail
    assert (slow, wrong) == ({}, {})
    assert parser.parse(data, name=f"a.{suffix}").outcome == Outcome.OK
