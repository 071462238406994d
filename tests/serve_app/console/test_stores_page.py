"""The page "Stores" in a real browser: why a document is missing, uploads, searches, pages and the map."""

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.vector_stores.stores import VectorStore, get_store
from cluster.settings import Settings
from tests.cluster.page_pictures.pdf_pages import pdf_of
from tests.indexed_files import fail, make_files, process
from tests.serve_app.conftest import Server
from tests.serve_app.console.console_page import NARROW, ConsolePage
from tests.serve_app.raw_requests import upload
from tests.waiting import LONGEST_WAIT_S

TEXTS = [
    "Herons stand still for hours before they strike. <script>alert(1)</script>",
    "Swifts sleep on the wing and land only to nest.",
    "Only the operator on duty may stop the pump.",
]
#: Number of highlighted pixels of the picture that is shown.
COUNT_YELLOW = """() => {
  const image = document.querySelector(".page-picture img");
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
  const context = canvas.getContext("2d");
  context.drawImage(image, 0, 0);
  const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4) if (data[at] > 200 && data[at + 2] < 150) found += 1;
  return found;
}"""
REASON = "the file is damaged: no page of it can be read; export it again"


@pytest.fixture(scope="module")
def store(settings: Settings, pool: ConnectionPool, server: Server) -> Iterator[VectorStore]:
    """A store with a searchable file, a file that failed, and a file that waits."""
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S) as http, pool.connection() as connection:
        connection.autocommit = True
        id = http.post("/v1/vector_stores", json={"name": "manuals"}).json()["id"]
        store = get_store(connection, settings.organisation, id)
        found, failed, waiting = make_files(connection, settings.organisation, 3)
        for file in (found, failed, waiting):
            http.post(f"/v1/vector_stores/{id}/files", json={"file_id": file}).raise_for_status()
        embed = server.service.models.default.engine.embed
        index = open_chunk_index(settings, pool)
        process(connection, index, store, found, TEXTS, embed=lambda texts: embed(texts).vectors)
        fail(connection, store, failed, "invalid_file", REASON)
        connection.execute(
            "UPDATE vector_store_files SET status = 'failed' WHERE vector_store = %s AND file = %s",
            [id, failed],
        )
        yield store
        connection.autocommit = False


def test_three_clicks_show_why_a_document_is_missing(
    console: ConsolePage, server: Server, store: VectorStore
) -> None:
    page = console.page
    console.open(server.url)
    console.click(page.get_by_role("link", name="Stores"))
    console.click(page.get_by_role("link", name="manuals").first)
    row = page.get_by_role("row").filter(has_text="1.txt")
    row.get_by_text(REASON).wait_for()
    assert console.clicks <= 3
    assert row.locator(".state").inner_text() == "failed"
    console.shoot("stores-files")
    page.get_by_role("button", name="Failed 1").click()
    page.get_by_role("row").filter(has_text="0.txt").wait_for(state="detached")
    assert page.url.endswith("?status=failed")


def test_a_result_opens_its_page_with_the_passage_marked(
    console: ConsolePage, server: Server, store: VectorStore
) -> None:
    page = console.page
    console.open(server.url, f"#/stores/{store.id}/search")
    page.get_by_label("Question").fill("where do swifts sleep?")
    page.keyboard.press("Enter")
    first = page.locator(".hit").first
    first.wait_for()
    assert set(first.locator("mark").all_inner_texts()) == {"Swifts", "sleep"}
    first.get_by_role("button").click()
    preview = page.get_by_role("region", name="Preview of a page")
    preview.get_by_role("heading", name="0.txt, page 2").wait_for()
    assert preview.locator(".passage").inner_text() == TEXTS[1]
    console.shoot("stores-search")
    preview.get_by_role("button", name="Previous page").click()
    preview.get_by_role("heading", name="0.txt, page 1").wait_for()
    preview.get_by_text("<script>alert(1)</script>").wait_for()  # shown as text
    assert "q=where+do+swifts" in page.url.replace("%20", "+")
    page.set_viewport_size(NARROW)
    assert console.overflow() == 0


def test_a_page_of_a_pdf_is_shown_as_a_picture_and_as_text(
    console: ConsolePage, server: Server, settings: Settings, pool: ConnectionPool, store: VectorStore
) -> None:
    embed = server.service.models.default.engine.embed
    with httpx.Client(base_url=server.url, timeout=60) as http, pool.connection() as connection:
        connection.autocommit = True
        file = upload(http, pdf_of([[text] for text in TEXTS]), name="birds.pdf").json()["id"]
        http.post(f"/v1/vector_stores/{store.id}/files", json={"file_id": file}).raise_for_status()
        index = open_chunk_index(settings, pool)
        process(connection, index, store, file, TEXTS, embed=lambda texts: embed(texts).vectors)
        connection.autocommit = False
    page = console.page
    console.open(server.url, f"#/stores/{store.id}/pages/{file}/2?start=0&end={len(TEXTS[1])}")
    picture = page.get_by_role("region", name="Picture of the page")
    picture.locator("img").wait_for()
    yellow = page.evaluate(COUNT_YELLOW)
    assert yellow > 1_000
    console.shoot("stores-picture")
    page.get_by_role("button", name="Text").click()
    picture.wait_for(state="hidden")
    assert page.locator(".passage").inner_text() == TEXTS[1]


def test_the_map_is_read_with_the_keyboard(console: ConsolePage, server: Server, store: VectorStore) -> None:
    page = console.page
    console.open(server.url, f"#/stores/{store.id}/map")
    chart = page.get_by_role("application", name="Map of 3 chunks")
    chart.wait_for()
    assert page.locator(".point").count() == 3
    chart.focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator(".tip").inner_text()
    assert any(text[:40] in tip for text in TEXTS)
    assert page.locator(".chart [aria-live]").text_content()
    console.shoot("stores-map")
    chart.focus()
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    preview = page.get_by_role("region", name="Preview of a page")
    preview.locator(".passage").wait_for()
    assert preview.locator(".passage").inner_text() in TEXTS


def test_dropped_files_are_uploaded_with_progress_and_refusals_are_shown(
    console: ConsolePage, server: Server, store: VectorStore, tmp_path: Path
) -> None:
    page = console.page
    good, bad = tmp_path / "notes.txt", tmp_path / "program.exe"
    good.write_bytes(b"Herons eat fish. " + tmp_path.name.encode())
    bad.write_bytes(b"\x7fELF\x02\x01\x01\x00")
    console.open(server.url, f"#/stores/{store.id}")
    page.locator("input[type=file]").set_input_files([good, bad])
    page.locator(".uploads .outcome.good").wait_for()
    refusal = page.locator(".uploads li").filter(has_text="program.exe").locator(".outcome.bad")
    assert "program.exe" in refusal.inner_text() or "type" in refusal.inner_text()
    page.get_by_role("row").filter(has_text="notes.txt").get_by_text("queued").wait_for()
    assert page.get_by_role("status").filter(has_text="1 uploaded, 1 failed").count() >= 1
    console.shoot("stores-upload")
    transfer = page.evaluate_handle(
        """() => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(['Swifts eat flies.'], 'dropped.txt'));
            return transfer;
        }"""
    )
    page.locator(".drop").dispatch_event("drop", {"dataTransfer": transfer})
    page.get_by_role("row").filter(has_text="dropped.txt").wait_for()


def test_a_reader_who_leaves_the_page_ends_all_uploads(
    console: ConsolePage, server: Server, store: VectorStore
) -> None:
    page, begun = console.page, []
    page.route("**/v1/files", lambda route: begun.append(route))  # no upload is answered
    console.open(server.url, f"#/stores/{store.id}")
    files = [{"name": f"{n}.txt", "mimeType": "text/plain", "buffer": b"Herons eat fish."} for n in range(9)]
    page.locator("input[type=file]").set_input_files(files)
    page.get_by_text("0 uploaded, 9 to go").first.wait_for()
    page.wait_for_function("document.querySelectorAll('.uploads li').length === 3")
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Agents").click()
    page.get_by_role("heading", name="Agents", level=1).wait_for()
    page.wait_for_timeout(500)  # the time in which the next uploads would begin
    assert len(begun) == 3


def test_a_failed_file_is_retried_and_another_is_removed(
    console: ConsolePage, server: Server, store: VectorStore
) -> None:
    page = console.page
    console.open(server.url, f"#/stores/{store.id}")
    page.get_by_role("button", name="Process 1.txt again").click()
    page.get_by_role("row").filter(has_text="1.txt").get_by_text("queued").wait_for()
    page.get_by_role("button", name="Remove 2.txt from the store").click()
    dialog = page.get_by_role("dialog")
    page.keyboard.press("Escape")
    assert page.get_by_role("row").filter(has_text="2.txt").count() == 1
    page.get_by_role("button", name="Remove 2.txt from the store").click()
    dialog.get_by_role("button", name="Remove").click()
    page.get_by_role("row").filter(has_text="2.txt").wait_for(state="detached")


def test_a_key_that_only_reads_sees_no_button_that_writes(
    console: ConsolePage, keyed_server: Server, operator: httpx.Client
) -> None:
    page = console.page
    organisation = operator.post("/v1/organisations", json={"id": f"console-{uuid4().hex[:8]}"}).json()["id"]
    headers = {"openai-organization": organisation}
    operator.post("/v1/vector_stores", json={"name": "theirs"}, headers=headers).raise_for_status()
    key = operator.post("/v1/organisation/keys", json={"name": "r", "scopes": ["read"]}, headers=headers)
    console.open(keyed_server.url, "#/stores", key=key.json()["key"])
    page.get_by_role("link", name="theirs").click()
    page.get_by_role("heading", name="Files").wait_for()
    assert page.locator(".drop").count() == 0
    console.open(keyed_server.url, "#/usage")
    page.get_by_text("Sign in with a key that has the scope admin").wait_for()


def test_words_are_marked_as_the_endpoint_compares_them(console: ConsolePage, server: Server) -> None:
    console.open(server.url)
    marked = console.page.evaluate(
        """async () => {
            const { highlighted } = await import("./highlight.js");
            const marks = (text, question) => highlighted(text, question)
                .filter((one) => one instanceof Element).map((one) => one.textContent);
            return [marks("Sleeping swifts sleep; the slope is wet.", "Does the swift SLEEP?"),
                    marks("a b the c", "the"), marks("ＰＵＭＰ stops <b>", "pump")];
        }"""
    )
    assert marked == [["Sleeping", "swifts", "sleep"], ["the"], ["ＰＵＭＰ"]]
