"""OpenAI's unmodified client does its whole round on a store whose vectors are on Pinecone: upload, attach,
search with nested filters, replace, delete. Pinecone is the simulator, and the worker a real one.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import ChunkIndexes
from cluster.settings import Settings
from cluster.settings.indexes import PINECONE, IndexSource
from cluster.settings.values import Table
from tests.cluster.languages.texts import CHINESE, ENGLISH, FRENCH, GERMAN
from tests.data_jobs.running_consumer import consuming
from tests.keys_in_output import marked_key
from tests.serve_app.conftest import Server, serving
from tests.simulators.pinecone.server import PineconeServer, simulator
from tests.waiting import until

INDEX = "at-pinecone"
QUESTION = "Who may stop the pump?"
NOTES = {
    f"note-{number}.txt": f"The {animal} eats {food} in the morning and sleeps near the {place}."
    for number, (animal, food, place) in enumerate(
        [("heron", "fish", "river"), ("swift", "flies", "tower"), ("otter", "eels", "mill")]
    )
}
#: A manual of one chunk, and of several if a chunk has at most 100 tokens.
MANUAL = "\n\n".join(
    ["Only the operator on duty may stop the pump."]
    + [f"Valve {number} opens when the pressure of boiler {number} is high." for number in range(20)]
)
SHORT: Any = {"type": "static", "static": {"max_chunk_size_tokens": 100, "chunk_overlap_tokens": 0}}


@pytest.fixture(scope="module")
def pinecone() -> Iterator[PineconeServer]:
    """Pinecone, which shows writes late."""
    with simulator() as server:
        server.service.storage.delay_s = 0.2
        yield server
        assert server.complaints == []
        assert server.traffic.overruns == []


@pytest.fixture(scope="module")
def on_pinecone(settings: Settings, pinecone: PineconeServer) -> Iterator[Settings]:
    """Return settings with an index on the simulated Pinecone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PINECONE_API_KEY", marked_key("pcsk_"))
        source = IndexSource(kind=PINECONE, host=pinecone.url)
        yield settings.model_copy(update={"indexes": Table({INDEX: source})})


@pytest.fixture(scope="module")
def endpoint(on_pinecone: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """An endpoint with that index, and a worker."""
    with serving(on_pinecone) as server, consuming(on_pinecone, pool, server.service.models.default.engine):
        yield server


@pytest.fixture(scope="module")
def outbox(on_pinecone: Settings, pool: ConnectionPool) -> Callable[[], int]:
    """``outbox()`` deletes what the worker's job of each minute deletes."""
    return partial(ChunkIndexes(on_pinecone, pool).empty_outbox, limit_s=5)


def held(pinecone: PineconeServer, store: str) -> list[dict[str, Any]]:
    """The metadata of the vectors that Pinecone holds for the store."""
    namespaces = [name for name in pinecone.service.storage.counts() if f".{store}." in name]
    return [
        dict(record.metadata)
        for name in namespaces
        for record in pinecone.service.storage.read(name)[0].values()
    ]


def test_the_openai_clients_whole_round_on_a_store_at_pinecone(
    endpoint: Server, pinecone: PineconeServer, outbox: Callable[[], int]
) -> None:
    with OpenAI(base_url=f"{endpoint.url}/v1", api_key="none needed", max_retries=0) as client:
        stores, attached_files = client.vector_stores, client.vector_stores.files
        made = stores.create(name="manuals", extra_body={"index": INDEX})
        assert (made.model_extra or {})["index"] == INDEX

        manual = client.files.create(file=("manual.txt", MANUAL.encode()), purpose="assistants")
        first: dict[str, Any] = {"plant": "north", "year": 2024, "draft": True}
        attached = attached_files.create_and_poll(
            manual.id, vector_store_id=made.id, attributes=first, poll_interval_ms=50
        )
        assert (attached.status, attached.attributes) == ("completed", first)
        assert [record["year"] for record in held(pinecone, made.id)] == [2024]  # completed means visible
        batch = stores.file_batches.upload_and_poll(
            made.id, files=[(name, text.encode()) for name, text in NOTES.items()], poll_interval_ms=50
        )
        assert (batch.status, batch.file_counts.completed) == ("completed", len(NOTES))
        assert len(held(pinecone, made.id)) == 1 + len(NOTES)

        def found(year: int, plants: list[str]) -> list[str]:
            either = [{"type": "eq", "key": "plant", "value": plant} for plant in plants]
            since = {"type": "gte", "key": "year", "value": year}
            filters: Any = {"type": "and", "filters": [{"type": "or", "filters": either}, since]}
            return [hit.filename for hit in stores.search(made.id, query=QUESTION, filters=filters)]

        assert found(2020, ["south", "north"]) == ["manual.txt"]
        assert found(2025, ["south", "north"]) == found(2020, ["south", "east"]) == []
        best = stores.search(made.id, query=[QUESTION, NOTES["note-2.txt"]], max_num_results=2).data
        assert {hit.filename for hit in best} == {"manual.txt", "note-2.txt"}
        by_vector: Any = {"ranker": "none"}
        (nearest,) = stores.search(
            made.id, query=NOTES["note-1.txt"], max_num_results=1, ranking_options=by_vector
        )
        assert nearest.content[0].text == NOTES["note-1.txt"]
        assert nearest.score == pytest.approx(1.0, abs=1e-4)

        replaced = attached_files.create_and_poll(
            manual.id,
            vector_store_id=made.id,
            attributes={"plant": "south", "year": 2030},
            chunking_strategy=SHORT,
            poll_interval_ms=50,
        )
        assert replaced.status == "completed"
        assert set(found(2030, ["south"])) == {"manual.txt"}
        assert found(2000, ["north"]) == []
        chunks = until(
            lambda: [one for one in held(pinecone, made.id) if one["filename"] == "manual.txt"],
            lambda chunks: len(chunks) > 1 and all(one["year"] == 2030 for one in chunks),
        )
        assert all("draft" not in chunk for chunk in chunks)
        parts = attached_files.content(manual.id, vector_store_id=made.id)
        assert " ".join(part.text or "" for part in parts).split() == MANUAL.split()

        attached_files.delete(manual.id, vector_store_id=made.id)
        assert "manual.txt" not in [hit.filename for hit in stores.search(made.id, query=QUESTION)]
        outbox()
        until(lambda: len(held(pinecone, made.id)), lambda count: count == len(NOTES))
        assert client.files.delete(manual.id).deleted
        assert stores.retrieve(made.id).file_counts.completed == len(NOTES)
        assert stores.delete(made.id).deleted
        until(lambda: [outbox(), held(pinecone, made.id)], lambda left: left[1] == [])


@pytest.mark.parametrize("index", ["pgvector", INDEX])
def test_files_are_found_by_words_of_their_own_language(endpoint: Server, index: str) -> None:
    with OpenAI(base_url=f"{endpoint.url}/v1", api_key="none needed", max_retries=0) as client:
        stores = client.vector_stores
        store = stores.create(name=f"languages {index}", extra_body={"index": index})
        texts = {"de.txt": GERMAN, "fr.txt": FRENCH, "zh.txt": CHINESE, "en.txt": ENGLISH}
        files = [(name, text.encode()) for name, text in texts.items()]
        batch = stores.file_batches.upload_and_poll(store.id, files=files, poll_interval_ms=50)
        assert batch.file_counts.completed == len(texts)
        for question, name in [
            ("Haus", "de.txt"),
            ("bâtiment", "fr.txt"),
            ("房屋", "zh.txt"),
            ("house", "en.txt"),
        ]:
            hit = stores.search(store.id, query=question).data[0]
            # Without a match of words, a score is at most a third: two of three rankings are by words.
            assert (hit.filename, hit.score > 0.9) == (name, True)
        filters: Any = {"type": "eq", "key": "language", "value": "fr"}
        found = stores.search(store.id, query="pumps", filters=filters).data
        assert [hit.filename for hit in found] == ["fr.txt"]
