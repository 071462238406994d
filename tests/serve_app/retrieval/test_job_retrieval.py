"""A retrieval in a job finds what the same retrieval over HTTP finds, with the same vectors and scores."""

from collections.abc import Sequence

import pytest
from psycopg_pool import ConnectionPool

from cluster.database import for_organisation
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines import Scored
from cluster.retrieval import Ranker, RetrievalOptions
from data_jobs.retrieval import JobRetriever
from serve_app.embedding.ranking import cross_encoder_scores
from serve_app.embedding.served_model import RequestContext
from serve_app.retrieval import Retriever
from serve_app.service import Service
from tests.data_jobs.running_consumer import LocalEmbedder
from tests.serve_app.conftest import PROMPTED, Server

QUESTIONS = ["who may stop the pump", "where do swifts sleep? " + "word " * 600]


@pytest.fixture
def prompted_birds(server: Server, pool: ConnectionPool) -> VectorStore:
    """A store of the model that puts a prompt before each question."""
    engine = server.service.models[PROMPTED].engine
    with pool.connection() as connection:
        organisation = server.service.settings.organisation
        store = ensure_store(connection, organisation, "prompted birds", fingerprint=engine.fingerprint)
    texts = ["Swifts sleep on the wing.", "Herons stand in the pond.", "The operator stops the pump."]
    index = open_chunk_index(server.service.settings, pool)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    rows = [
        ChunkRecord(id=text, document="doc", text=text, attributes={}, vector=vector)
        for text, vector in zip(texts, engine.embed(texts).vectors, strict=True)  # type: ignore[attr-defined]
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    return store


def job_retriever(service: Service, model: str) -> JobRetriever:
    async def score(question: str, texts: Sequence[str], /) -> Scored:
        return await cross_encoder_scores(service.models, question, texts)

    return JobRetriever(
        service.settings,
        service.settings.organisation,
        LocalEmbedder(service.models.engines[model]),
        in_database=service.in_database,
        score=None if service.models.reranker is None else score,
    )


@pytest.mark.parametrize("model", ["all-MiniLM-L6-v2", PROMPTED])
async def test_a_job_finds_what_a_request_finds(
    server: Server, birds: VectorStore, prompted_birds: VectorStore, model: str
) -> None:
    service, options = server.service, RetrievalOptions(max_chunks=3)
    store = prompted_birds if model == PROMPTED else birds
    context = RequestContext(organisation=service.settings.organisation)
    jobs = job_retriever(service, model)
    with for_organisation(store.organisation):
        live = await Retriever(service).retrieve(context, [store.id], QUESTIONS, options)
        found = await jobs.retrieve([store.id], QUESTIONS, options)
    assert [chunk.id for chunk in found.chunks] == [chunk.id for chunk in live.chunks]
    assert [chunk.score for chunk in found.chunks] == pytest.approx([chunk.score for chunk in live.chunks])
    assert (found.versions, found.truncated_questions) == (live.versions, 1)
    assert jobs.tokens[store.fingerprint.model] > store.fingerprint.max_tokens


async def test_a_job_reranks_with_the_cross_encoder(reranking_server: Server, birds: VectorStore) -> None:
    service = reranking_server.service
    options = RetrievalOptions(max_chunks=3, ranker=Ranker.CROSS_ENCODER)
    context = RequestContext(organisation=birds.organisation)
    jobs = job_retriever(service, "all-MiniLM-L6-v2")
    with for_organisation(birds.organisation):
        live = await Retriever(service).retrieve(context, [birds.id], QUESTIONS[:1], options)
        found = await jobs.retrieve([birds.id], QUESTIONS[:1], options)
    assert [(chunk.id, pytest.approx(chunk.score)) for chunk in live.chunks] == [
        (chunk.id, chunk.score) for chunk in found.chunks
    ]
    assert jobs.reranked_tokens > 0
