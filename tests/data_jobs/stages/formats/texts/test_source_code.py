"""Source code keeps its text, and definitions are the headings of a hit."""

import sysconfig
from pathlib import Path

import pytest

from cluster.page_structure import BlockKind
from cluster.records import Fact, Page
from data_jobs.stages.chunkers.chunk_places import ChunkPlaces
from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.texts import source_code
from data_jobs.stages.parsing.parser import Parser

LIBRARY = Path(sysconfig.get_path("stdlib"))


def parse(text: str, name: str) -> ParserOutput:
    return source_code.parse(text.encode(), ParseOptions(max_pages=1, name=name))


def headings(output: ParserOutput) -> list[tuple[int, str]]:
    blocks = output.structure[0].blocks
    return [(b.level, output.pages[0][b.start : b.end]) for b in blocks if b.kind is BlockKind.HEADING]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.py", "import os\n\nclass Pump(Device):\n    async def start(self):\n        x = 1\n",
         [(1, "class Pump(Device):"), (2, "async def start(self):")]),
        ("a.c",
         "/* type and back. */\nint x;\nstatic int\nstart(pump *p)\n{\n}\nint stop(void) {\n  if (x) {\n}\n",
         [(1, "int stop(void) {")]),
        ("a.cpp", "namespace birds {\nvoid Heron::fly(int to) {\n}\n}\n",
         [(1, "namespace birds {"), (1, "void Heron::fly(int to) {")]),
        ("A.java", "public class A {\n    private int go(int a)\n    {\n        return run(a);\n    }\n}\n",
         [(1, "public class A {"), (2, "private int go(int a)")]),
        ("a.go", "package birds\n\nfunc (h *Heron) Fly(to int) error {\n}\ntype Heron struct {\n}\n",
         [(1, "func (h *Heron) Fly(to int) error {"), (1, "type Heron struct {")]),
        ("a.rs", "pub(crate) fn fly() -> u8 {\n}\nimpl Bird for Heron {\n}\n",
         [(1, "pub(crate) fn fly() -> u8 {"), (1, "impl Bird for Heron {")]),
        ("a.ts", "export default class Heron {\n}\nconst fly = async (to: number) => {\n};\n",
         [(1, "export default class Heron {"), (1, "const fly = async (to: number) => {")]),
        ("a.rb", "module Birds\n  class Heron < Bird\n    def fly\n",
         [(1, "module Birds"), (2, "class Heron < Bird"), (2, "def fly")]),
        ("a.sh", "stop() {\n}\nif x; then {\n", [(1, "stop() {")]),
        ("a.sql", "CREATE TABLE birds (\n  id int\n);\n", [(1, "CREATE TABLE birds (")]),
        ("a.toml", "[tool.ruff] # lint\nline = 1\n[[x]]\n", [(1, "[tool.ruff] # lint"), (1, "[[x]]")]),
        ("a.yml", "services:\n  web:\n    image: x\nname: y\n", [(1, "services:")]),
        ("a.php", "<?php\nfunction fly($to) {\n}\n", [(1, "function fly($to) {")]),
    ],
    ids=lambda value: value if isinstance(value, str) and len(value) < 9 else "",
)  # fmt: skip
def test_definitions_are_headings(name: str, text: str, expected: list[tuple[int, str]]) -> None:
    output = parse(text, name)
    assert headings(output) == expected
    assert output.pages == [text]


@pytest.mark.parametrize("module", ["argparse", "json/decoder", "ast", "textwrap", "csv"])
def test_code_of_others_is_covered_by_blocks_without_a_loss(module: str) -> None:
    text = (LIBRARY / f"{module}.py").read_text(encoding="utf-8")
    output = parse(text, "a.py")
    blocks = output.structure[0].blocks
    assert output.pages == [text]
    covered = "".join(text[block.start : block.end] for block in blocks)
    assert "".join(covered.split()) == "".join(text.split())
    defined = [
        line for line in text.split("\n") if line.startswith(("def ", "class ")) and line.endswith(":")
    ]
    assert [line for level, line in headings(output) if level == 1 and line.endswith(":")] == defined


def test_a_hit_names_its_definition_and_a_filter_the_language(parser: Parser) -> None:
    parsed = parser.parse(b"class Pump:\n    def start(self):\n        return 'primed'\n", name="lib/pump.py")
    (page,) = parsed.pages
    at = page.text.index("return")
    place = ChunkPlaces([Page(number=1, text=page.text, structure=page.structure)]).of(1, at, at + 6)
    assert place.heading == "class Pump: > def start(self):"
    assert parsed.facts[Fact.PROGRAMMING_LANGUAGE] == "Python"
