"""Sources of frequent questions are found before they are asked, are equal to live ones, and never stale."""

import asyncio
import random
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg_pool import ConnectionPool

from cluster.agents import DefinedAgent
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import get_store
from cluster.jobs import queue
from cluster.jobs.jobs import JobState, get_job
from cluster.jobs.kinds import PRECOMPUTE_CONTEXTS
from cluster.settings import Settings
from tests.data_jobs.running_consumer import consuming
from tests.serve_app.answers.conftest import ChattingServer, NewAgent
from tests.waiting import until

SWIFT, HERON = "Swifts sleep on the wing and land only to nest.", "Herons stand still before they strike."
OWL = "Owls hear mice under the snow."
QUESTIONS = ["Where do swifts sleep?", "How do herons hunt?"]


@pytest.fixture(scope="module")
def _worker(settings: Settings, pool: ConnectionPool, _chatting: ChattingServer) -> Iterator[None]:
    with consuming(settings, pool, _chatting.server.service.models.default.engine):
        yield


@pytest.fixture
def precompute(chatting: ChattingServer, pool: ConnectionPool, _worker: None) -> Any:
    """``precompute(agent, questions=[...])`` runs the job, and returns its result."""

    def run(agent: DefinedAgent, **options: Any) -> dict[str, Any]:
        organisation = chatting.server.service.settings.organisation
        asked = {"days": 30, "min_conversations": 2, "max_questions": 10, "questions": None}
        with pool.connection() as connection:
            id = queue.submit(
                connection, organisation, PRECOMPUTE_CONTEXTS, {"agent_id": agent.id, **asked, **options}
            ).id

        def job() -> Any:
            with pool.connection() as connection:
                return get_job(connection, organisation, id)

        ended = until(job, lambda job: job.state.ended)
        assert ended.state == JobState.SUCCEEDED, ended.error
        chatting.server.service.contexts._known.clear()  # as after a minute
        return ended.result

    return run


def ask(chatting: ChattingServer, agent: DefinedAgent, question: str, **fields: Any) -> dict[str, Any]:
    body = {"model": f"agent:{agent.id}", "messages": [{"role": "user", "content": question}], **fields}
    answer = chatting.http.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_precomputed_answer_has_the_sources_of_the_live_one_and_says_so(
    chatting: ChattingServer, new_agent: NewAgent, precompute: Any
) -> None:
    agent = new_agent(SWIFT, HERON, OWL)
    live = [ask(chatting, agent, question) for question in QUESTIONS]
    made = precompute(agent, questions=QUESTIONS)
    assert (made["questions"], made["computed"], made["unchanged"]) == (2, 2, 0)
    before = chatting.server.service.contexts.stats.hits
    now = [ask(chatting, agent, question) for question in QUESTIONS]

    assert [answer["sources"] for answer in now] == [answer["sources"] for answer in live]
    assert [answer.get("precomputed") for answer in [*live, *now]] == [None, None, True, True]
    assert chatting.server.service.contexts.stats.hits == before + 2
    close = ask(chatting, agent, "where do swifts sleep")
    assert close["precomputed"] is True
    assert close["sources"][0]["quote"] == SWIFT
    assert "precomputed" not in ask(chatting, agent, "What do owls hear?")
    filters = {"type": "eq", "key": "page", "value": 1}
    assert "precomputed" not in ask(chatting, agent, QUESTIONS[0], filters=filters)
    assert precompute(agent, questions=QUESTIONS)["unchanged"] == 2
    assert precompute(agent, questions=QUESTIONS[:1])["deleted"] == 1


def write(chatting: ChattingServer, settings: Settings, pool: ConnectionPool, agent: DefinedAgent, text: str):  # type: ignore[no-untyped-def]
    """Replace the first chunk of the agent's store."""
    engine = chatting.server.service.models.default.engine
    with pool.connection() as connection:
        organisation = chatting.server.service.settings.organisation
        store = get_store(connection, organisation, agent.stores[0])
    row = ChunkRecord(
        id="chunk-1",
        document="doc-1",
        text=text,
        attributes={"page": 1, "start": 0, "end": len(text), "filename": "birds.pdf"},
        vector=engine.embed([text]).vectors[0],  # type: ignore[attr-defined]
    )
    open_chunk_index(settings, pool).upsert(store.organisation, store.id, [row], collection=store.collection)


def test_a_question_that_begins_after_a_write_never_gets_the_sources_from_before(
    chatting: ChattingServer, new_agent: NewAgent, precompute: Any, settings: Settings, pool: ConnectionPool
) -> None:
    agent = new_agent(SWIFT, HERON)
    written, stop = ["0"], threading.Event()

    def keep_writing() -> None:
        for number in range(1, 40):
            text = f"Swifts sleep on the wing, as version {number} says."
            write(chatting, settings, pool, agent, text)
            written.append(str(number))
            if stop.wait(random.uniform(0.0, 0.15)):
                return

    async def prepare() -> None:
        while not stop.is_set():
            await asyncio.to_thread(precompute, agent, questions=QUESTIONS)

    write(chatting, settings, pool, agent, "Swifts sleep on the wing, as version 0 says.")
    writer = threading.Thread(target=keep_writing)
    preparing = threading.Thread(target=lambda: asyncio.run(prepare()))
    writer.start()
    preparing.start()
    hits = chatting.server.service.contexts.stats.hits
    try:
        for _ in range(60):
            latest = int(written[-1])
            sources = ask(chatting, agent, QUESTIONS[0])["sources"]
            (version,) = [
                int(word)
                for source in sources
                for word in source["text"].split()
                if "version" in source["text"] and word.isdigit()
            ]
            assert version >= latest
    finally:
        stop.set()
        writer.join()
        preparing.join()
    precompute(agent, questions=QUESTIONS)
    assert ask(chatting, agent, QUESTIONS[0])["precomputed"] is True
    assert chatting.server.service.contexts.stats.hits > hits


def test_frequent_questions_come_from_conversations_without_their_texts_and_die_with_an_erasure(
    chatting: ChattingServer, new_agent: NewAgent, precompute: Any, pool: ConnectionPool
) -> None:
    agent = new_agent(SWIFT, HERON)
    customer = f"customer-{uuid4().hex[:8]}"
    for question in ["Where do swifts sleep?", "where do swifts sleep", "How do herons hunt?"]:
        ask(chatting, agent, question, user=customer)
    made = precompute(agent)
    assert (made["questions"], made["computed"]) == (1, 1)
    assert ask(chatting, agent, "Where do swifts sleep?", store=False)["precomputed"] is True
    with pool.connection() as connection:
        rows = connection.execute(
            "SELECT question FROM precomputed_contexts WHERE agent = %s", [agent.id]
        ).fetchall()
        usage = connection.execute(
            "SELECT sum(quantity) FROM usage_events WHERE agent = %s AND source = 'job'", [agent.id]
        ).fetchone()
    assert rows == [(None,)]
    assert usage is not None
    assert usage[0] > 0

    (found,) = chatting.http.get("/v1/customers", params={"external_id": customer}).json()["data"]
    assert chatting.http.delete(f"/v1/customers/{found['id']}").status_code in (200, 202, 204)
    with pool.connection() as connection:
        left = connection.execute(
            "SELECT count(*) FROM precomputed_contexts WHERE agent = %s", [agent.id]
        ).fetchone()
    assert left == (0,)
