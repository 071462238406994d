"""Retrieval in a replica: finds the chunks that answer a question, with the models of the replica.

from serve_app.retrieval import Retriever
"""

from serve_app.retrieval.retriever import Retriever

__all__ = ["Retriever"]
