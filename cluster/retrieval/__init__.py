"""Find the chunks of a vector store that answer questions.

from cluster.retrieval import RetrievalOptions, retrieve
"""

from cluster.retrieval.contract import (
    EmbedQuestions,
    PreparedSearch,
    QueryVectors,
    Ranker,
    RerankTexts,
    RetrievalOptions,
    Retrieved,
    RetrievedChunk,
    RunInDatabase,
)
from cluster.retrieval.result_cache import ResultCache
from cluster.retrieval.retrieve import MAX_STORES, find_stores, retrieve

__all__ = [
    "MAX_STORES",
    "EmbedQuestions",
    "PreparedSearch",
    "QueryVectors",
    "Ranker",
    "RerankTexts",
    "ResultCache",
    "RetrievalOptions",
    "Retrieved",
    "RetrievedChunk",
    "RunInDatabase",
    "find_stores",
    "retrieve",
]
