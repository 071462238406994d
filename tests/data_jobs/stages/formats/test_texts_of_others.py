"""Files of other projects, which the installed packages contain, are read without the loss of a word."""

import re
import sysconfig
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest

from benchmarks.word_counts import missing, words
from cluster.records import Outcome
from data_jobs.stages.parsing.parser import Parser

#: Share of the words of an independent reader that our text has.
BAR = 0.98


MARKS = re.compile(r"(?m)^\.\. _.*(?:\n {3}\S.*)*|^\.\. [\w:]+::|^ +:\w+:.*|:\w+:(?=`)|<[^>\n]*>(?=`)")


def folder(package: str) -> Path:
    spec = find_spec(package)
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent


DATA, DESCRIPTIONS = folder("sklearn") / "datasets" / "data", folder("sklearn") / "datasets" / "descr"
LIBRARY, LEXICONS = Path(sysconfig.get_path("stdlib")), folder("vaderSentiment")
SCHEMAS = folder("jsonschema_specifications") / "schemas"
RAW = [
    *sorted(DATA.glob("*.csv")),
    *(LIBRARY / f"{name}.py" for name in ("ast", "csv", "pdb", "typing", "zipfile")),
]
#: Path -> the name with which it is uploaded. The lexicons are tables with tabs, and end with ``.txt``.
NAMES = {path: path.name for path in RAW} | {
    LEXICONS / f"{name}.txt": f"{name}.tab" for name in ("vader_lexicon", "emoji_utf8_lexicon")
}


@pytest.mark.parametrize(("path", "name"), NAMES.items(), ids=NAMES.values())
def test_every_word_of_tables_and_of_code_is_read(parser: Parser, path: Path, name: str) -> None:
    data = path.read_bytes()
    parsed = parser.parse(data, name=name)
    assert parsed.outcome == Outcome.OK
    assert missing(data.decode(), parsed.pages[0].text).total() == 0


def _json_words(value: object, names: set[str]) -> str:
    """Return the values as orjson reads them. Add the names, which a table has only once, to ``names``."""
    if isinstance(value, dict):
        names |= value.keys()
        return " ".join(_json_words(item, names) for item in value.values())
    if isinstance(value, list):
        return " ".join(_json_words(item, names) for item in value)
    return value if isinstance(value, str) else orjson.dumps(value).decode()


@pytest.mark.parametrize("path", sorted(SCHEMAS.rglob("metaschema.json")), ids=lambda path: path.parent.name)
def test_the_words_of_json_are_read(parser: Parser, path: Path) -> None:
    data = path.read_bytes()
    text = parser.parse(data, name=path.name).pages[0].text
    names = set[str]()
    expected = _json_words(orjson.loads(data), names)
    assert missing(f"{expected} {' '.join(names)}", text).total() == 0


@pytest.mark.parametrize("path", sorted(DESCRIPTIONS.glob("*.rst")), ids=lambda path: path.name)
def test_the_words_of_restructured_text_are_read(parser: Parser, path: Path) -> None:
    parsed = parser.parse(path.read_bytes(), name=path.name)
    # No reader sees the targets of links and the names of roles and directives.
    raw = MARKS.sub(" ", path.read_text(encoding="utf-8"))
    assert missing(raw, parsed.pages[0].text).total() <= (1 - BAR) * words(raw).total()
    assert any(block.level == 1 for block in parsed.pages[0].structure.blocks)
