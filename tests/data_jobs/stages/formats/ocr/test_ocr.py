"""Tesseract reads pages and pictures without text; without Tesseract, they are reported."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from PIL import Image

from cluster.engines import Registry, describe
from cluster.formats import PDF_PARSERS
from cluster.records import Outcome, ParsedDocument
from cluster.settings import Settings
from data_jobs.stages import parse as parse_stage
from data_jobs.stages.document_row import DocumentRow, new_row
from data_jobs.stages.formats.contract import OcrRequest
from data_jobs.stages.parse import Parse
from data_jobs.stages.parsing import tesseract_program
from data_jobs.stages.parsing.parser import Parser
from data_jobs.stages.pipeline_version import pipeline_version
from tests.data_jobs.stages.formats.ocr.pictures import LINES, SIZE, TEXT, picture, saved, scanned
from tests.data_jobs.stages.formats.ocr.stand_in import WORD, put_first, write_program
from tests.waiting import LONGEST_WAIT_S, Stopwatch

recognised = pytest.mark.skipif(shutil.which("tesseract") is None, reason="Tesseract is not installed")


@pytest.fixture(scope="module", autouse=True)
def few_processes() -> Iterator[None]:
    """Let all tests share one parsing process for each library, because each takes a second to start."""
    with Parser(Settings()) as pymupdf, Parser(Settings(pdf_parser="pdfium")) as pdfium:
        shared = {"pymupdf": pymupdf, "pdfium": pdfium}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parse_stage, "parser_of_process", lambda settings: shared[settings.pdf_parser])
            yield


@pytest.fixture(autouse=True)
def known_program(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the program of another test."""
    tesseract_program.installed.cache_clear()
    yield
    tesseract_program.installed.cache_clear()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program with the name of Tesseract, which is found first."""
    return put_first(tmp_path, WORD, monkeypatch)


def without_tesseract(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")


def parse(data: bytes, name: str, **settings: object) -> DocumentRow:
    options: dict[str, Any] = {"ocr": "auto", **settings}
    return Parse(Settings(**options))({**new_row("document", name, ""), "content": data})


def words(row: DocumentRow) -> list[str]:
    """The text of each page, whatever its paragraphs."""
    return [" ".join(text.split()) for text in row["page_texts"]]


@recognised
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_a_picture_is_a_document(kind: str) -> None:
    row = parse(saved(picture(*LINES), kind), f"a.{kind.lower()}")
    assert (row["outcome"], words(row)) == (Outcome.OK, [TEXT])
    facts = json.loads(row["facts"])
    assert facts["ocr_pages"] == 1
    assert 80 < facts["ocr_confidence"] <= 100


@recognised
def test_a_picture_is_read_upright_and_on_white_paper() -> None:
    turned = picture(*LINES).rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show the picture turned clockwise
    assert words(parse(saved(turned, "JPEG", exif=exif), "a.jpg")) == [TEXT]
    glass = Image.new("LA", SIZE, (0, 0))
    glass.putalpha(picture(*LINES).point(lambda value: 255 - value))
    assert words(parse(saved(glass, "PNG"), "a.png")) == [TEXT]


@recognised
def test_each_frame_of_a_tiff_is_a_page() -> None:
    frames = [picture(line) for line in LINES]
    row = parse(saved(frames[0], "TIFF", save_all=True, append_images=frames[1:]), "a.tif")
    assert (row["pages"], row["page_texts"]) == (2, list(LINES))


@recognised
@pytest.mark.parametrize("library", PDF_PARSERS)
def test_only_pages_without_text_are_recognised_unless_all_are_asked_for(library: str) -> None:
    data = scanned(LINES[0], None)
    row = parse(data, "a.pdf", pdf_parser=library)
    assert (row["outcome"], row["page_texts"]) == (Outcome.OK, [LINES[0], "This page has letters."])
    assert json.loads(row["facts"])["ocr_pages"] == 1
    forced = parse(data, "a.pdf", pdf_parser=library, ocr="force")
    assert (forced["page_texts"], json.loads(forced["facts"])["ocr_pages"]) == (row["page_texts"], 2)


def test_without_tesseract_the_pages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    without_tesseract(monkeypatch)
    row = parse(scanned(LINES[0], None), "a.pdf")
    assert (row["outcome"], row["detail"]) == (
        Outcome.PARTIAL_TEXT,
        "page 1 of 2 could not be read: it is a picture, which optical character recognition could read",
    )
    for data, name in ((scanned(LINES[0]), "a.pdf"), (saved(picture(TEXT), "PNG"), "a.png")):
        row = parse(data, name)
        assert (row["outcome"], "install Tesseract" in row["detail"]) == (Outcome.NEEDS_OCR, True)
    assert "Tesseract is not installed" in parse(scanned(LINES[0]), "a.pdf", ocr="force")["detail"]


def test_recognition_can_be_switched_off(stand_in: Path) -> None:
    assert parse(scanned(LINES[0]), "a.pdf", ocr="off")["outcome"] == Outcome.NEEDS_OCR
    assert parse(scanned(LINES[0]), "a.pdf")["page_texts"] == ["word"]


def test_languages_without_data_are_named(stand_in: Path) -> None:
    assert parse(scanned(LINES[0]), "a.pdf", ocr_languages="deu+eng")["outcome"] == Outcome.OK
    row = parse(scanned(LINES[0]), "a.pdf", ocr_languages="fra+eng")
    assert (row["outcome"], "install tesseract-ocr-fra" in row["detail"]) == (Outcome.NEEDS_OCR, True)


def test_a_page_that_takes_too_long_costs_its_own_time_and_leaves_no_process(stand_in: Path) -> None:
    write_program(stand_in.parent, "sleep 61.7")
    began = Stopwatch()
    row = parse(scanned(LINES[0], None), "a.pdf", ocr_page_timeout_s=0.5)
    assert began.seconds() < 30
    assert row["page_texts"] == ["", "This page has letters."]
    assert row["detail"].endswith("took longer to recognise than 0.5 seconds (CLUSTER_OCR_PAGE_TIMEOUT_S)")
    assert not [one for one in psutil.process_iter(["cmdline"]) if "tsv" in (one.info["cmdline"] or [])]


def test_a_page_on_which_tesseract_fails_is_named(stand_in: Path) -> None:
    write_program(stand_in.parent, "echo no such thing >&2; exit 3")
    detail = parse(scanned(LINES[0], None), "a.pdf")["detail"]
    assert detail == (
        "page 1 of 2 could not be read: it is a picture that Tesseract could not read (no such thing)"
    )
    write_program(stand_in.parent, ":")
    row = parse(scanned(LINES[0]), "a.pdf")
    assert (row["outcome"], row["detail"]) == (
        Outcome.EMPTY,
        "holds pictures in which Tesseract recognises no text",
    )


def test_an_installed_tesseract_and_its_options_are_part_of_the_version(
    stand_in: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fingerprint = describe(Registry(Settings()).default)
    options = ({"ocr": "auto"}, {"ocr": "force"}, {"ocr": "auto", "ocr_languages": "deu"}, {"ocr": "off"})
    versions = [pipeline_version(Settings(**one), fingerprint) for one in options]
    assert len(set(versions)) == len(options)
    without_tesseract(monkeypatch)
    tesseract_program.installed.cache_clear()
    assert pipeline_version(Settings(ocr="auto"), fingerprint) == versions[-1]


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_damaged_pictures_end_in_an_outcome(kind: str, stand_in: Path) -> None:
    whole, chance = saved(picture(*LINES), kind), random.Random(kind)
    with Parser(Settings()) as parser:
        for number in range(20):
            data = bytearray(whole if number % 2 else whole[: chance.randrange(16, len(whole))])
            for _ in range(number % 5 * 4):
                data[chance.randrange(12, len(data))] = chance.randrange(256)
            parsed: ParsedDocument = parser.parse(
                bytes(data), name="a", part=(0, 1), ocr=_request(stand_in), timeout_s=LONGEST_WAIT_S
            )
            assert parsed.outcome in {Outcome.OK, Outcome.CORRUPT, Outcome.TOO_LARGE, Outcome.UNSUPPORTED}


def test_a_picture_that_unpacks_to_too_many_pixels_is_too_large(stand_in: Path) -> None:
    row = parse(saved(Image.new("1", (20_000, 20_000)), "PNG"), "a.png")
    assert (row["outcome"], "400,000,000 pixels" in row["detail"]) == (Outcome.NEEDS_OCR, True)


def _request(path: Path) -> OcrRequest:
    return OcrRequest(program=str(path), languages="eng")
