"""POST /v1/vector_stores/{id or name}/search, as OpenAI's API reference describes it.

By default, three rankings are fused: by meaning (vectors), by words, and by phrase. A score of 1 means that
the chunk is first in each ranking. With ``ranker: "none"``, only the vectors are used, and the score is the
cosine similarity of the vectors of the question and the chunk. If ``ranker`` is the name of the cross-encoder
(``CLUSTER_RERANKER_PATH``), the cross-encoder scores the best chunks again, each together with the question.
This module reads the request and writes the response; ``serve_app.retrieval`` searches.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, Self

from fastapi import Response
from pydantic import Field
from starlette.convertors import StringConvertor, register_url_convertor

from cluster.errors import InvalidInput
from cluster.retrieval import RetrievalOptions, Retrieved, RetrievedChunk
from cluster.retrieval.retrieve import MAX_STORES
from cluster.usage.events import UsageSource
from cluster.vector_index import Mode
from cluster.vector_index.collections import MAX_DIMENSIONS
from serve_app.answers.query_rewriting import rewritten
from serve_app.edge.json_route import json_router
from serve_app.edge.place_fields import PlaceFields, place_values
from serve_app.edge.request_context import ContextDep
from serve_app.edge.request_model import RequestModel, Text, Whole
from serve_app.edge.response_model import Omissible, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.retrieval import Retriever

FILTERS_OF_OTHERS = frozenset({"filter", "where", "metadata_filter", "attribute_filter"})

router = json_router(404, 409, 429)


class StoreName(StringConvertor):
    """Matches a store's name in a path; the name may contain slashes and line breaks."""

    regex = r"[\s\S]+"


register_url_convertor("store", StoreName())


class RankingOptions(RequestModel):
    """Options for the ranking of results and for their minimum score."""

    ranker: str = "auto"
    """`auto` fuses three rankings, `none` uses only the vectors, and the name of the cross-encoder adds a
    second scoring by the cross-encoder."""
    score_threshold: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Minimum score of a result, from 0 to 1."""


class SearchRequest(RequestModel):
    """OpenAI's VectorStoreSearchRequest, with `mode` added."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False for the names that other servers use for ``filters``, because an ignored filter would
        give too many results.
        """
        return name not in FILTERS_OF_OTHERS

    query: Text | list[Text] | None = None
    """A question, or a list of questions whose results are merged. The query may be left out if
    `vector` is given.
    """
    vector: Annotated[list[float], Field(min_length=1, max_length=MAX_DIMENSIONS)] | None = None
    """A vector to search with, in place of the vector of the question. Then `query` is not embedded, and
    only the words of `query` are searched.
    """
    filters: dict[str, Any] | None = None
    """A comparison (`type`, `key`, `value`) or a compound filter (`type`, `filters`), as in OpenAI's API."""
    max_num_results: Annotated[Whole, Field(ge=1, le=50)] = 10
    """Maximum number of results."""
    ranking_options: RankingOptions = RankingOptions()
    """The ranker, and the minimum score of a result."""
    rewrite_query: bool = False
    """With `true`, the default chat model (`CLUSTER_CHAT_MODELS`) rewrites each query before the search.
    `search_query` in the answer shows the result.
    """
    vector_stores: Annotated[list[Text], Field(max_length=MAX_STORES - 1)] | None = None
    """Ids or names of further vector stores to search together with the store in the path."""
    mode: Mode = "ann"
    """`ann` uses the vector index; `exact` compares every vector."""


class TextContent(ResponseModel):
    """The text of a result."""

    type: Literal["text"] = "text"
    """Always `text`."""
    text: str
    """The chunk's text."""


class SearchResult(PlaceFields):
    """A chunk that answers the query: OpenAI's VectorStoreSearchResultItem, with more fields."""

    file_id: str
    """Id of the attached file, or of the document if a bulk ingest added the document."""
    filename: str
    """Name of the file, or of the ingested document."""
    score: float
    """0 to 1, higher is better. Compare scores within one answer only."""
    attributes: dict[str, str | int | float | bool]
    """Attributes that a request gave to the file; all attributes of a document that a bulk ingest added."""
    content: list[TextContent]
    """The chunk's text, as one item; it begins with `context`."""
    context: Omissible[str] = None
    """Text that the chunk needs to be understood, such as the header of its table. The text between `start`
    and `end` follows in the next line. Left out if the chunk has none.
    """
    chunk_id: str
    """Id of the chunk."""
    page: int | None
    """Page of the document, from 1; null if the document has no pages."""
    start: int | None
    """Position of the chunk's first character on the page, counted from 0."""
    end: int | None
    """Position after the chunk's last character on the page."""
    snippet: str
    """The part of the chunk that contains most of the query's words."""
    keywords: list[str]
    """Keywords of the document that occur in the chunk."""
    vector_store_id: str
    """Id of the vector store that contains the chunk."""

    @classmethod
    def of(cls, chunk: RetrievedChunk) -> Self:
        """Convert the chunk into the object that answers contain."""
        return cls(
            file_id=chunk.file,
            filename=chunk.filename,
            score=chunk.score,
            attributes=dict(chunk.attributes),
            content=[TextContent(text=chunk.text)],
            context=chunk.context or None,
            chunk_id=chunk.id,
            page=chunk.page,
            start=chunk.start,
            end=chunk.end,
            **place_values(chunk.place),
            snippet=chunk.snippet,
            keywords=list(chunk.keywords),
            vector_store_id=chunk.store,
        )


class SearchResults(ResponseModel):
    """OpenAI's VectorStoreSearchResultsPage. All results are on one page."""

    object: Literal["vector_store.search_results.page"] = "vector_store.search_results.page"
    """Always `vector_store.search_results.page`."""
    search_query: list[str]
    """The queries of the request; with `rewrite_query`, the rewritten queries."""
    data: list[SearchResult]
    """The results, best first."""
    has_more: Literal[False] = False
    """Always false."""
    next_page: None = None
    """Always null."""

    @classmethod
    def of(cls, queries: Sequence[str], retrieved: Retrieved) -> Self:
        """Convert the queries and the found chunks into the object that answers contain."""
        return cls(search_query=list(queries), data=[SearchResult.of(chunk) for chunk in retrieved.chunks])


@router.post("/v1/vector_stores/{vector_store:store}/search", summary="Search a vector store")
async def search(
    vector_store: str, body: SearchRequest, service: ServiceDep, context: ContextDep, response: Response
) -> SearchResults:
    """Returns the chunks that answer the query best, each with its file, its page and its position."""
    if body.query is None and body.vector is None:
        raise InvalidInput("query is missing; send a query, a vector, or both", param="query")
    queries = [body.query] if isinstance(body.query, str) else body.query or []
    retriever = Retriever(service)
    options = RetrievalOptions(
        max_chunks=body.max_num_results,
        score_threshold=body.ranking_options.score_threshold,
        filters=body.filters,
        mode=body.mode,
        ranker=retriever.ranker(body.ranking_options.ranker, param="ranking_options.ranker"),
    )
    context = replace(context, source=UsageSource.SEARCH)
    if body.rewrite_query:
        queries = await rewritten(service, context, queries)
    stores = [vector_store, *(body.vector_stores or ())]
    retrieved = await retriever.retrieve(context, stores, queries, options, vector=body.vector)
    if retrieved.truncated_questions:
        response.headers["x-truncated-inputs"] = str(retrieved.truncated_questions)
    return SearchResults.of(queries, retrieved)
