"""The place of a chunk names the headings, the page, and the cells or rows that a reader finds there."""

import pytest

from cluster.page_structure import ChunkPlace
from cluster.records import MAX_FACT_LENGTH, Page
from data_jobs.stages.chunkers.chunk_places import HEADING_CHARACTERS, ChunkPlaces
from data_jobs.stages.formats.page_builder import PageBuilder


def page(builder: PageBuilder, number: int = 1) -> Page:
    return Page(number=number, text=builder.text(), structure=builder.structure())


def guide() -> list[Page]:
    first, second = PageBuilder(), PageBuilder(label="Annex")
    first.heading("Guide", level=1)
    first.paragraph("Read this first.")
    first.heading("Install", level=2)
    first.paragraph("Choose a system.")
    first.heading("Linux", level=3)
    first.paragraph("Use the package.")
    second.paragraph("It continues here.")
    second.heading("Use", level=2)
    second.paragraph("Start it.")
    return [page(first), page(second, 2)]


@pytest.mark.parametrize(
    ("number", "words", "heading"),
    [
        (1, "Guide", "Guide"),
        (1, "Read", "Guide"),
        (1, "Choose", "Guide > Install"),
        (1, "Linux", "Guide > Install > Linux"),
        (2, "It continues", "Guide > Install > Linux"),
        (2, "Start", "Guide > Use"),
    ],
)
def test_a_chunk_has_the_headings_in_force_where_it_begins(number: int, words: str, heading: str) -> None:
    pages = guide()
    start = pages[number - 1].text.index(words)
    place = ChunkPlaces(pages).of(number, start, start + len(words))
    assert (place.heading, place.label) == (heading, "Annex" if number == 2 else "")


def test_a_chunk_of_a_sheet_names_its_cells() -> None:
    sheet = PageBuilder(label="Costs")
    sheet.paragraph("Budget")
    sheet.table([["City", "EUR"], ["Rome", "410"], ["Bern", "200"]], first_row=4, columns="A:B")
    sheet.table([["7"], ["8"]], header=False, first_row=9, columns="D:D")
    costs = page(sheet)
    places = ChunkPlaces([costs])

    def cells(first: str, last: str) -> str:
        return places.of(1, costs.text.index(first), costs.text.index(last) + len(last)).cells

    assert cells("Budget", "Budget") == ""
    assert cells("Budget", "City") == "A4:B4"
    assert cells("City", "Rome") == "A4:B5"
    assert cells("| Bern", "200 |") == "A6:B6"
    assert cells("Rome", "| 7 |") == "A5:B6, D9"
    assert cells("| 8 |", "| 8 |") == "D10"


def test_a_table_without_columns_names_its_rows() -> None:
    document = PageBuilder()
    document.table([["Bird", "Nest"], *([f"bird {n}", "tree"] for n in range(1, 30))])
    birds = page(document)
    start = birds.text.index("| bird 11 ")
    places = ChunkPlaces([birds])
    assert places.of(1, start, birds.text.index("| bird 15 ")) == ChunkPlace(rows="12-15")
    assert places.of(1, start, start + 5) == ChunkPlace(rows="12")


@pytest.mark.parametrize(
    ("place", "page", "shown"),
    [
        (ChunkPlace(heading="Guide"), 3, "page 3"),
        (ChunkPlace(label="Costs", cells="A2:F9"), 2, "Costs, A2:F9"),
        (ChunkPlace(rows="12-15"), 1, "page 1, rows 12-15"),
        (ChunkPlace(), None, ""),
    ],
)
def test_a_place_is_shown_to_people(place: ChunkPlace, page: int | None, shown: str) -> None:
    assert place.shown(page) == shown


def test_places_fit_into_attributes() -> None:
    """Long headings and many tables are cut, and the lowest heading is kept."""
    deep = PageBuilder()
    for level in range(1, 9):
        deep.heading(f"{level} " + "long " * 40, level=level)
    for row in range(1, 200):
        deep.table([["a", "b"]], header=False, first_row=row, columns="A:B")
    text = deep.text()
    places = ChunkPlaces([page(deep)])
    path, cells = places.of(1, text.index("| a "), len(text)).heading, places.of(1, 0, len(text)).cells
    assert path.startswith("… > ")
    assert path.split(" > ")[-1].startswith("8 long")
    assert cells.startswith("A1:B1, A2:B2, ")
    assert cells.endswith(", …")
    assert max(map(len, path.split(" > "))) <= HEADING_CHARACTERS
    assert max(len(path), len(cells)) <= MAX_FACT_LENGTH
