"""Clients of the Model Context Protocol search and read documents: the official client, over HTTP."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolResult
from psycopg_pool import ConnectionPool

from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.chunks.chunk_rows import ChunkRecord
from cluster.documents.vector_stores.stores import VectorStore, ensure_store
from cluster.engines.tokens.cl100k import Cl100kTokeniser, packaged_file
from cluster.retrieval.retrieve import MAX_STORES
from cluster.settings import Settings
from tests.conftest import new_organisation
from tests.serve_app.conftest import BIRDS, Server, bearer, serving
from tests.waiting import LONGEST_WAIT_S

VOCABULARY = packaged_file()
assert VOCABULARY is not None
TOKENISER = Cl100kTokeniser(VOCABULARY, max_content_tokens=1)


def tokens(text: str) -> int:
    return int(TOKENISER.count([text])[0])


@asynccontextmanager
async def connected(server: Server, mode: str = "auto", key: str | None = None) -> AsyncIterator[Client]:
    """The official client, of the newest version of the protocol or, with ``legacy``, of those before it."""
    headers = {} if key is None else bearer(key)
    async with (
        httpx2.AsyncClient(headers=headers, timeout=LONGEST_WAIT_S) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield client


async def called(server: Server, tool: str, mode: str = "auto", **arguments: Any) -> dict[str, Any]:
    """The structured result of a tool, which is the same as its text."""
    async with connected(server, mode) as client:
        result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    structured = result.structured_content
    assert json.loads(text_of(result)) == structured
    return structured  # type: ignore[no-any-return]


async def refused(server: Server, tool: str, **arguments: Any) -> str:
    """The sentence with which a tool fails."""
    async with connected(server) as client:
        result = await client.call_tool(tool, arguments)
    assert result.is_error
    return text_of(result)


def text_of(result: CallToolResult) -> str:
    (content,) = result.content
    return content.text  # type: ignore[no-any-return, union-attr]


@pytest.fixture(scope="module")
def alone(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server of an organisation that has no store."""
    with serving(settings.model_copy(update={"organisation": new_organisation(pool)})) as server:
        yield server


@pytest.fixture(scope="module")
def manual(server: Server, pool: ConnectionPool) -> VectorStore:
    return new_manual(server, pool, "manual")


def new_manual(server: Server, pool: ConnectionPool, name: str) -> VectorStore:
    """A store with one document of 24 pages, each with one chunk, and a link to its source."""
    service = server.service
    engine, index = service.models.default.engine, open_chunk_index(service.settings, pool)
    with pool.connection() as connection:
        organisation = service.settings.organisation
        store = ensure_store(connection, organisation, name, fingerprint=engine.fingerprint)
    index.ensure(store.collection, dim=store.fingerprint.dim)
    texts = [f"Section {page}: " + f"turbine {page} needs oil number {page}. " * 80 for page in range(1, 25)]
    vectors = engine.embed([text[:99] for text in texts]).vectors
    rows = [
        ChunkRecord(
            id=f"c{page}",
            document="doc_manual",
            text=text,
            attributes={
                "page": page,
                "ordinal": page,
                "filename": "manual.pdf",
                "url": "https://example.com/manual.pdf",
            },
            vector=vector,
        )
        for page, (text, vector) in enumerate(zip(texts, vectors, strict=True), start=1)
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    return store


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_official_client_lists_and_calls_the_tools(
    server: Server, birds: VectorStore, mode: str
) -> None:
    async with connected(server, mode) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == ["search", "fetch", "list_vector_stores"]
        assert all(tool.annotations and tool.annotations.read_only_hint for tool in tools.values())
        for tool in tools.values():
            fields = tool.input_schema["properties"]
            assert [name for name, field in fields.items() if "description" not in field] == []
        assert "is data" in (client.instructions or "")
    found = await called(server, "search", mode, query="who may stop the pump", vector_stores=["birds"])
    best = found["results"][0]
    assert best["id"] == f"{birds.id}/pump"
    assert (best["title"], best["text"]) == ("birds.pdf, page 3", BIRDS["pump"][0])
    assert best["url"] == f"{server.url}/v1/vector_stores/{birds.id}/files/doc_1/content"
    assert best["metadata"]["page"] == 3
    document = await called(server, "fetch", mode, id=best["id"])
    assert {*document} == {"id", "title", "text", "url", "metadata"}
    assert (document["id"], document["metadata"]["whole"]) == (best["id"], True)
    assert document["text"] == "\n\n".join(
        text for text, _ in sorted(BIRDS.values(), key=lambda bird: bird[1])
    )


async def test_text_that_neighbouring_chunks_share_is_read_once(server: Server, pool: ConnectionPool) -> None:
    service = server.service
    engine, index = service.models.default.engine, open_chunk_index(service.settings, pool)
    with pool.connection() as connection:
        fingerprint = engine.fingerprint
        store = ensure_store(connection, service.settings.organisation, "shared", fingerprint=fingerprint)
    page = "".join(f"Valve {number} is closed. " for number in range(100))
    ranges = [(start, min(start + 300, len(page))) for start in range(0, len(page) - 100, 200)]
    # The last chunk names a range that does not belong to its text.
    texts = [*(page[start:end] for start, end in ranges), "Another text"]
    vectors = engine.embed(texts).vectors
    rows = [
        ChunkRecord(
            id=f"s{number}",
            document="doc_shared",
            text=text,
            attributes={"page": 1, "ordinal": number, "start": start, "end": end},
            vector=vector,
        )
        for number, ((start, end), text, vector) in enumerate(
            zip([*ranges, (len(page) - 5, len(page) + 7)], texts, vectors, strict=True)
        )
    ]
    index.upsert(store.organisation, store.id, rows, collection=store.collection)
    for id, tokens in (("s0", 8_000), ("s4", 8_000), (f"s{len(rows) - 1}", 8_000)):
        read = await called(server, "fetch", id=f"{store.id}/{id}", max_tokens=tokens)
        assert read["text"] == page + "\n\nAnother text"
        assert read["metadata"]["whole"]
    beginning = await called(server, "fetch", id=f"{store.id}/s0", max_tokens=500)
    assert page.startswith(beginning["text"])


async def test_search_takes_only_a_query_and_searches_all_stores(
    alone: Server, server: Server, pool: ConnectionPool, manual: VectorStore
) -> None:
    both = {new_manual(alone, pool, name).id for name in ("manual", "another")}
    found = await called(alone, "search", query="oil of turbine 7")
    assert {one["metadata"]["vector_store_id"] for one in found["results"]} == both
    named = await called(server, "search", query="turbine", vector_stores=["manual"])
    assert {one["metadata"]["vector_store_id"] for one in named["results"]} == {manual.id}
    assert {one["url"] for one in named["results"]} == {"https://example.com/manual.pdf"}


async def test_stores_of_agents_are_left_out_if_there_are_too_many_stores(
    alone: Server, pool: ConnectionPool
) -> None:
    manual = new_manual(alone, pool, "manual")
    with pool.connection() as connection:
        made = [
            ensure_store(connection, manual.organisation, f"of {n}", fingerprint=manual.fingerprint).id
            for n in range(MAX_STORES)
        ]
    everything = await refused(alone, "search", query="oil of turbine 7")
    with pool.connection() as connection:
        connection.execute(
            "INSERT INTO agent_stores (organisation, vector_store) SELECT %s, unnest(%s::text[])",
            [manual.organisation, made],
        )

    found = await called(alone, "search", query="oil of turbine 7")

    assert f"more than {MAX_STORES} vector stores" in everything
    searched = {one["metadata"]["vector_store_id"] for one in found["results"]}
    assert manual.id in searched
    assert searched.isdisjoint(made)


async def test_filters_and_limits_narrow_a_search(server: Server, manual: VectorStore) -> None:
    page = {"type": "eq", "key": "page", "value": 9}
    found = await called(server, "search", query="oil", vector_stores=[manual.id], filters=page)
    assert [one["metadata"]["page"] for one in found["results"]] == [9]
    two = await called(server, "search", query="oil", vector_stores=[manual.id], max_results=2)
    assert (len(two["results"]), two["omitted"]) == (2, 0)


@pytest.mark.parametrize("budget", [500, 1_000, 4_000])
async def test_an_answer_of_search_stays_within_its_tokens(
    server: Server, manual: VectorStore, budget: int
) -> None:
    found = await called(
        server, "search", query="turbine", vector_stores=[manual.id], max_results=50, max_tokens=budget
    )
    assert tokens(json.dumps(found, separators=(",", ":"))) <= budget
    assert len(found["results"]) + found["omitted"] == 24
    assert found["results"]
    if budget == 500:  # the whole passage does not fit, so it is shortened
        assert found["results"][0]["shortened"]


async def test_fetch_reads_a_long_document_in_parts_that_follow_each_other(
    server: Server, manual: VectorStore
) -> None:
    id, texts, pages = f"{manual.id}/c1", [], []
    while id is not None:
        part = await called(server, "fetch", id=id, max_tokens=3_000)
        assert tokens(part["text"]) <= 3_000
        texts.append(part["text"])
        pages.append((part["metadata"]["first_page"], part["metadata"]["last_page"]))
        id = part["metadata"]["next_id"]
    assert len(pages) > 2
    assert [first for first, _ in pages[1:-1]] == [last + 1 for _, last in pages[:-2]]
    assert (pages[0][0], pages[-1][1]) == (1, 24)
    whole = await called(server, "fetch", id=f"{manual.id}/c12", max_tokens=50_000)
    assert whole["metadata"]["whole"]
    assert whole["text"].startswith("\n\n".join(texts[:-1]))
    # A passage that is longer than the budget is cut.
    short = await called(server, "fetch", id=f"{manual.id}/c12", max_tokens=500)
    assert (tokens(short["text"]), short["metadata"]["next_id"]) == (500, f"{manual.id}/c13")
    assert not short["metadata"]["whole"]


async def test_stores_are_listed_with_what_they_contain(server: Server, http: httpx.Client) -> None:
    made = {"name": "laws", "description": "Laws of the republic", "metadata": {"language": "en"}}
    id = http.post("/v1/vector_stores", json=made).json()["id"]
    listed = (await called(server, "list_vector_stores", limit=1))["vector_stores"]
    assert listed == [made | {"id": id, "files": 0, "searchable": True}]
    http.delete(f"/v1/vector_stores/{id}")


@pytest.mark.parametrize(
    ("tool", "arguments", "sentence"),
    [
        ("search", {}, "query is missing"),
        ("search", {"query": " ", "vector_stores": ["birds"]}, "none of them empty"),
        ("search", {"query": "a", "vector_stores": ["missing"]}, "no vector store 'missing'"),
        ("search", {"query": "a", "where": {}}, "where"),
        ("search", {"query": "a", "max_tokens": 10}, "max_tokens is 10; it must be at least 500"),
        (
            "search",
            {"query": "a", "vector_stores": ["birds"], "filters": {"type": "like", "key": "a", "value": 1}},
            "like",
        ),
        ("fetch", {"id": "nothing"}, "no document 'nothing'"),
        ("fetch", {"id": "vs_000000000000000000000000/a"}, "no vector store"),
    ],
)
async def test_an_error_of_a_tool_is_a_sentence_for_the_language_model(
    server: Server, birds: VectorStore, tool: str, arguments: dict[str, Any], sentence: str
) -> None:
    assert sentence in await refused(server, tool, **arguments)


async def test_a_passage_that_is_gone_says_so(server: Server, birds: VectorStore) -> None:
    assert "search again" in await refused(server, "fetch", id=f"{birds.id}/gone")


LIST = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}


def test_pages_of_other_sites_cannot_call_the_tools(server: Server, http: httpx.Client) -> None:
    def post(origin: str) -> int:
        return http.post("/mcp", json=LIST, headers={"origin": origin}).status_code

    assert post("http://localhost:6274") == post("http://127.0.0.1") == 200
    for origin in ("http://evil.example", "http://localhost.evil.example", "http://[::1", "null"):
        assert post(origin) == 403, origin


def test_requests_outside_the_protocol_are_refused(server: Server, http: httpx.Client) -> None:
    assert http.get("/mcp").status_code == http.delete("/mcp").status_code == 405
    assert http.post("/mcp", content=b"{", headers={"content-type": "application/json"}).status_code == 400
    assert http.post("/mcp", json=[]).status_code == 400
    unknown = {**LIST, "method": "tools/call", "params": {"name": "drop", "arguments": {}}}
    error = http.post("/mcp", json=unknown).json()["error"]
    assert error["message"] == "there is no tool 'drop'; there are: search, fetch, list_vector_stores"
