"""The files of other projects that ``benchmarks.words`` reads, and those that are no fair test."""

import hashlib
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

PINS = Path(__file__).with_name("words.txt")
CACHE = Path(__file__).parent / ".cache" / "words"


@dataclass(frozen=True, kw_only=True, slots=True)
class FileSelection:
    """Selects files of one archive that are read in the same way."""

    archive: str
    #: Pattern of paths inside the archive, without its first folder.
    pattern: str
    #: A key of ``word_readers.READERS``.
    kind: str
    #: Encoding of the files.
    encoding: str = "utf-8"
    #: Most files, the first by name.
    most: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class WordFile:
    """One file to read."""

    #: Name of the archive, and path inside it.
    name: str
    kind: str
    encoding: str
    data: bytes


#: Folders of chardet's tests, with Python's name for the encoding of their files.
ENCODINGS = {
    "Big5": "big5",
    "CP949": "cp949",
    "EUC-JP": "euc_jp",
    "EUC-KR": "euc_kr",
    "GB2312": "gb18030",
    "IBM866": "cp866",
    "KOI8-R": "koi8_r",
    "SHIFT_JIS": "cp932",
    "TIS-620": "tis_620",
    "UTF-16": "utf_16",
    "iso-8859-1": "cp1252",
    "iso-8859-2-hungarian": "iso8859_2",
    "iso-8859-5-cyrillic": "iso8859_5",
    "iso-8859-7-greek": "iso8859_7",
    "iso-8859-9-turkish": "cp1254",
    "utf-8": "utf_8",
    "utf-8-sig": "utf_8_sig",
    "windows-1250-hungarian": "cp1250",
    "windows-1251-cyrillic": "cp1251",
    "windows-1255-hebrew": "cp1255",
}
#: Files of charset-normalizer's samples, with the encodings that its tests state.
SAMPLES = {
    "arabic-1": "cp1256",
    "bulgarian": "utf_8",
    "chinese": "big5",
    "english.bom": "utf_8_sig",
    "french-1": "cp1252",
    "greek": "cp1253",
    "greek-2": "cp1253",
    "hebrew-2": "cp1255",
    "korean": "cp949",
    "polish": "utf_8",
    "russian": "mac_cyrillic",
    "russian-3": "utf_8",
    "turkish": "cp1254",
}
SELECTIONS = [
    FileSelection(archive="pypdf", pattern="resources/*.pdf", kind="pdf"),
    FileSelection(archive="pikepdf", pattern="tests/resources/*.pdf", kind="pdf"),
    FileSelection(archive="rst2pdf", pattern="tests/reference/*.pdf", kind="pdf", most=400),
    FileSelection(archive="docutils", pattern="docs/user/rst/*.html", kind="html"),
    FileSelection(archive="docutils", pattern="test/functional/expected/*.html", kind="html"),
    FileSelection(archive="html2text", pattern="test/*.html", kind="html"),
    FileSelection(archive="markdown", pattern="tests/basic/*.html", kind="html"),
    FileSelection(archive="markdown", pattern="tests/misc/*.html", kind="html"),
    FileSelection(archive="markdown", pattern="docs/*.md", kind="markdown"),
    FileSelection(archive="pikepdf", pattern="docs/*.md", kind="markdown"),
    *[
        FileSelection(
            archive="chardet", pattern=f"tests/{folder}/*.{ending}", kind=kind, encoding=encoding, most=2
        )
        for folder, encoding in ENCODINGS.items()
        for ending, kind in (("txt", "text"), ("srt", "text"), ("xml", "xml"))
    ],
    *[
        FileSelection(
            archive="charset-normalizer", pattern=f"data/sample-{name}.txt", kind="text", encoding=encoding
        )
        for name, encoding in SAMPLES.items()
    ],
    FileSelection(archive="csvkit", pattern="examples/*.csv", kind="csv"),
    FileSelection(archive="csvkit", pattern="examples/realdata/*.csv", kind="csv"),
    FileSelection(archive="agate", pattern="examples/*.csv", kind="csv"),
    FileSelection(archive="csvkit", pattern="examples/*.json", kind="json"),
    FileSelection(archive="agate", pattern="examples/*.json", kind="json"),
    FileSelection(archive="xmlschema", pattern="*.json", kind="json"),
    FileSelection(archive="xmlschema", pattern="*.xml", kind="xml"),
    FileSelection(archive="docutils", pattern="docs/*.rst", kind="rst"),
    FileSelection(archive="feedparser", pattern="docs/*.rst", kind="rst", most=60),
    FileSelection(archive="docutils", pattern="docutils/*.py", kind="code", most=40),
    FileSelection(archive="agate", pattern="agate/*.py", kind="code", most=40),
    FileSelection(archive="python-docx", pattern="*.docx", kind="docx"),
    FileSelection(archive="python-pptx", pattern="*.pptx", kind="pptx"),
    FileSelection(archive="csvkit", pattern="examples/*.xlsx", kind="xlsx"),
    FileSelection(archive="python-pptx", pattern="*.xlsx", kind="xlsx"),
    FileSelection(archive="odfpy", pattern="tests/examples/*.od?", kind="opendocument"),
    FileSelection(archive="docutils", pattern="test/functional/expected/*.odt", kind="opendocument"),
]
#: Files below the bar for a reason outside our parser: path, and the reason.
EXCEPTIONS = {
    "docutils/docs/ref/rst/mathematics.rst": "formulas in text: docutils keeps their backslashes",
    "docutils/docs/user/rst/demo.rst": "docutils adds a list of the targets of links",
    "docutils/docs/user/slide-shows.rst": "docutils adds a list of the targets of links",
    "pypdf/resources/indirect-rotation.pdf": (
        "a scan with spaces between its recognised letters: no two readers join the same ones"
    ),
    "pypdf/resources/issue-301.pdf": (
        "a drawing recognised as 26 single letters: no two readers join the same ones"
    ),
    "rst2pdf/tests/reference/sphinx-issue252.pdf": "formulas: PDFium separates an exponent from its base",
    "rst2pdf/tests/reference/sphinx-issue360.pdf": (
        "2,000 words on one line, nearly all of them beyond the edge of the page"
    ),
    "rst2pdf/tests/reference/test_issue_274_2.pdf": (
        "a font without most letters: MuPDF reads the boxes in their place as I"
    ),
    "rst2pdf/tests/reference/test_math.pdf": "formulas: PDFium separates an exponent from its base",
    "rst2pdf/tests/reference/test_unicode_headings.pdf": (
        "a font without two letters: MuPDF reads the boxes in their place as I"
    ),
}


def word_files() -> Iterator[WordFile]:
    """Every selected file. Each archive is downloaded once.

    Raises:
        SystemExit: an archive is missing or is not the pinned one.
    """
    archives = {path.name.rpartition("-")[0].replace("_", "-"): path for path in _archives()}
    for selection in SELECTIONS:
        with tarfile.open(archives[selection.archive]) as archive:
            within = {
                member.name.partition("/")[2]: member for member in archive.getmembers() if member.isfile()
            }
            for path in sorted(path for path in within if fnmatch(path, selection.pattern))[: selection.most]:
                file = archive.extractfile(within[path])
                assert file is not None
                yield WordFile(
                    name=f"{selection.archive}/{path}",
                    kind=selection.kind,
                    encoding=selection.encoding,
                    data=file.read(),
                )


def _archives() -> list[Path]:
    pinned = set(re.findall(r"sha256:([0-9a-f]{64})", PINS.read_text()))
    if pinned - _kept():
        options = [
            "--no-deps",
            "--no-binary",
            ":all:",
            "--require-hashes",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "--dest", CACHE, "--requirement", PINS],
            check=True,
        )
    if pinned - _kept():
        raise SystemExit(
            f"{CACHE} lacks archives that {PINS.name} names: delete the folder and run this again"
        )
    return [path for path in CACHE.glob("*.tar.gz") if _hash(path) in pinned]


def _kept() -> set[str]:
    return {_hash(path) for path in CACHE.glob("*.tar.gz")}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
