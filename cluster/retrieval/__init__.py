"""Find the chunks of a vector store that answer questions.

from cluster.retrieval import RetrievalOptions, retrieve
"""

from cluster.retrieval.contract import (
    EmbedQuestions,
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
