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
from cluster.retrieval.retrieve import retrieve

__all__ = [
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
    "retrieve",
]
