"""OpenAI's unmodified client uploads a long Word document and a workbook. Hits name headings, rows, cells."""

from collections.abc import Iterator

import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.settings import Settings
from data_jobs.worker.consumer import Consumer
from tests.data_jobs.running_consumer import consuming
from tests.data_jobs.stages.formats.office.packages import docx_of, xlsx_of
from tests.serve_app.conftest import Server

TOWNS = "Kiruna Narvik Umea Bergen Turku Oulu Vaasa Tromso Lulea Falun Mora Gavle".split()
#: One for each page of the Word document, as Word and LibreOffice show it.
ANIMALS = (
    "otter badger hedgehog lynx wolf bear moose reindeer beaver squirrel hare fox marten stoat weasel mole "
    "shrew bat seal porpoise dolphin whale walrus eagle falcon hawk owl raven crow magpie heron stork crane "
    "swan goose duck gull tern puffin penguin pelican salmon trout pike perch eel herring cod shark lobster "
    "crab oyster mussel spider beetle butterfly bee ant wasp dragonfly".split()
)
STYLES = "".join(
    f'<w:style w:type="paragraph" w:styleId="H{level}"><w:name w:val="heading {level}"/></w:style>'
    for level in (1, 2)
)
BREAK = '<w:p><w:r><w:br w:type="page"/></w:r></w:p>'


@pytest.fixture(scope="module")
def consumer(settings: Settings, pool: ConnectionPool, server: Server) -> Iterator[Consumer]:
    with consuming(settings, pool, server.service.models.default.engine) as consumer:
        yield consumer


def paragraph(text: str, style: str = "") -> str:
    """A paragraph of a Word document."""
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/></w:pPr><w:r><w:t>{text}</w:t></w:r></w:p>'


def page(number: int, animal: str) -> str:
    """A page with two headings, a paragraph and a table."""
    rows = [
        ("Quality", "Value"),
        ("Weight of an adult", f"{number} kg"),
        ("Greatest age", f"{number + 3} years"),
        ("Size of the home range", f"{number * 2} hectares"),
        *((f"Seen in {town}", f"{number} times since 2020, last in spring") for town in TOWNS[:7]),
    ]
    cells = "".join(
        f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in rows
    )
    return (
        paragraph(f"Chapter {number}", "H1")
        + paragraph("What rangers noted in the forest, at the lake and by the sea.")
        + paragraph(f"The {animal}", "H2")
        + f"<w:tbl><w:tblPr/>{cells}</w:tbl>"
    )


def test_hits_name_the_heading_and_the_row_or_the_cells(server: Server, consumer: Consumer) -> None:
    pages = (page(number, animal) for number, animal in enumerate(ANIMALS, start=1))
    document = docx_of(BREAK.join(pages), styles=STYLES)
    cells = (
        '<row r="4"><c r="B4" t="str"><v>City</v></c><c r="C4" t="str"><v>Heron nests</v></c></row>'
        + "".join(
            f'<row r="{row}"><c r="B{row}" t="str"><v>{town}</v></c><c r="C{row}"><v>{row + 65}</v></c></row>'
            for row, town in enumerate(TOWNS, start=5)
        )
    )
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        store = client.vector_stores.create(name="Animals and nests")
        for name, data in (("animals.docx", document), ("nests.xlsx", xlsx_of(cells))):
            attached = client.vector_stores.files.upload_and_poll(vector_store_id=store.id, file=(name, data))
            assert (attached.status, attached.last_error) == ("completed", None)
        badger, *_ = client.vector_stores.search(store.id, query="How old does a badger get?").data
        nests, *_ = client.vector_stores.search(
            store.id,
            query="How many heron nests has Oulu?",
            filters={"type": "eq", "key": "label", "value": "Sheet 1"},
        ).data
        filtered = client.vector_stores.search(
            store.id,
            query="weight",
            filters={"type": "eq", "key": "heading", "value": "Chapter 60 > The dragonfly"},
        ).data

    assert badger.filename == "animals.docx"
    assert "| Greatest age | 5 years |" in badger.content[0].text
    assert badger.model_extra is not None
    assert badger.model_extra["heading"].startswith("Chapter 2")
    assert badger.model_extra["rows"] == "1-11"
    assert nests.filename == "nests.xlsx"
    assert nests.model_extra is not None
    assert (nests.model_extra["label"], nests.model_extra["cells"]) == ("Sheet 1", "B4:C16")
    assert "| Oulu | 75 |" in nests.content[0].text
    assert ["60 kg" in hit.content[0].text for hit in filtered] == [True]
