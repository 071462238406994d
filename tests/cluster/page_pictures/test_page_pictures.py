"""A page of a PDF becomes a picture with the passage highlighted, and no document harms the endpoint."""

import io
from typing import Any

import pytest
from PIL import Image

from cluster.errors import Conflict, NotFound
from cluster.page_pictures import page_pictures
from cluster.page_pictures.contract import MAX_HEIGHT, MAX_WIDTH
from cluster.page_pictures.highlighting import find_passage
from cluster.page_pictures.page_pictures import PagePictures
from cluster.settings import Settings
from tests.cluster.page_pictures.pdf_pages import pdf_of, yellow_box

LINES = ["Herons stand still for hours.", "Swifts sleep on the wing.", "Only the operator may stop the pump."]


async def draw(settings: Settings, document: bytes, *, page: int = 1, passage: str = "") -> bytes:
    async def read() -> bytes:
        return document

    return await PagePictures(settings).draw("a" * 64, read, page=page, passage=passage)


@pytest.mark.parametrize("rotation", [0, 90])
async def test_exactly_the_passage_is_yellow(settings: Settings, rotation: int) -> None:
    document = pdf_of([["Nothing here."], LINES], rotation=rotation)
    assert yellow_box(await draw(settings, document, page=2)) is None
    box = yellow_box(await draw(settings, document, page=2, passage="swifts sleep\non the  WING."))
    assert box is not None
    # The line begins 40 points from the left and has its foot 90 points from the top, of 400 and 300 points.
    across, down = (
        ((box[0], box[2]), (box[1], box[3])) if rotation == 0 else ((box[1], box[3]), (box[0], box[2]))
    )
    assert across[0] == pytest.approx(0.1, abs=0.02)
    assert across[1] < 0.5
    upper, lower = down if rotation == 0 else (1 - down[1], 1 - down[0])
    assert 0.24 < upper < lower < 0.33


@pytest.mark.parametrize(
    ("page", "passage", "found"),
    [
        ("He rons\nstand", "herons stand", ["He rons\nstand"]),
        ("The e\ufb03cient oper-\nator", "efficient operator", ["e\ufb03cient oper-\nator"]),
        (
            "left column one\nright column one\nleft column two\nright column two",
            "left column one\nleft column two\nright column one\nright column two",
            ["left column one\nright column one\nleft column two\nright column two"],
        ),
        ("A pump. The pump", "nothing of this is on the page", []),
        ("A pump", " \n", []),
    ],
)
def test_a_passage_is_found_in_spite_of_spaces_hyphens_ligatures_and_columns(
    page: str, passage: str, found: list[str]
) -> None:
    places = find_passage(page, passage)
    if len(found) == 1:
        assert page[places[0][0] : places[-1][1]] == found[0]
    assert bool(places) == bool(found)


async def test_a_huge_page_is_a_picture_of_bounded_size(settings: Settings) -> None:
    huge = pdf_of([LINES]).replace(b"/MediaBox[0 0 400 300]", b"/MediaBox[0 0 90000 300]")
    assert b"90000" in huge
    width, height = Image.open(io.BytesIO(await draw(settings, huge))).size
    assert width <= MAX_WIDTH
    assert height <= MAX_HEIGHT


async def test_what_cannot_be_drawn_is_refused_with_a_reason(settings: Settings) -> None:
    with pytest.raises(NotFound, match="no page 2"):
        await draw(settings, pdf_of([LINES]), page=2)
    with pytest.raises(Conflict, match="damaged or protected"):
        await draw(settings, b"%PDF-1.7\n1 0 obj\n<< /Type /Catalog")


async def test_a_page_that_would_be_drawn_for_hours_ends_at_the_limit(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_pictures, "CPU_S", 1)
    with pytest.raises(Conflict, match="more memory or more time"):
        await draw(settings, endless())


async def test_a_picture_is_drawn_once_and_the_process_gets_no_secret(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    start = page_pictures.asyncio.create_subprocess_exec

    async def watched(*command: str, **options: Any) -> Any:
        started.append(options["env"])
        return await start(*command, **options)

    monkeypatch.setattr(page_pictures.asyncio, "create_subprocess_exec", watched)
    pictures, document = PagePictures(settings), pdf_of([LINES])

    async def read() -> bytes:
        return document

    first, again = [await pictures.draw("a" * 64, read, page=1, passage=LINES[0]) for _ in range(2)]
    assert first == again
    assert len(started) == 1
    assert set(started[0]) == {"PYTHONPATH"}
    await pictures.draw("a" * 64, read, page=1, passage=LINES[1])
    assert len(started) == 2


def endless() -> bytes:
    """A PDF of a few kilobytes whose forms draw a rectangle 50 to the power of 5 times."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "<< /Type /Pages /Kids [3 0 R] /Count 1 >>"]
    objects.append(
        "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 400 300] /Contents 4 0 R"
        " /Resources << /XObject << /F 5 0 R >> >> >>"
    )
    calls = "/F Do " * 50
    objects.append(f"<< /Length {len(calls)} >>\nstream\n{calls}\nendstream")
    for number in range(6, 10):
        objects.append(
            f"<< /Type /XObject /Subtype /Form /BBox [0 0 400 300] /Length {len(calls)}"
            f" /Resources << /XObject << /F {number} 0 R >> >> >>\nstream\n{calls}\nendstream"
        )
    square = "0 0 400 300 re f " * 50
    objects.append(
        f"<< /Type /XObject /Subtype /Form /BBox [0 0 400 300] /Length {len(square)} >>\n"
        f"stream\n{square}\nendstream"
    )
    body, places = "%PDF-1.7\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n"
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    count = len(objects) + 1
    trailer = f"trailer << /Root 1 0 R /Size {count} >>\nstartxref\n{len(body)}\n%%EOF"
    return f"{body}xref\n0 {count}\n0000000000 65535 f \n{table}{trailer}".encode()
