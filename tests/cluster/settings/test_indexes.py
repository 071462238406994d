"""CLUSTER_INDEXES: short and long forms mean the same, and values that cannot work are refused."""

import json

import pytest
from pydantic import ValidationError

from cluster.settings import Settings
from cluster.settings.indexes import IndexSource

HOST = "docs-1a2b.svc.aped-1.pinecone.io"


def test_indexes_are_read_from_json_in_short_and_long_form(monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"kind": "pinecone", "host": HOST, "key_env": "ACME_KEY", "requests_per_second": 20}
    given = {
        "short": f"pinecone:{HOST}",
        "long": long,
        "ours": "pgvector",
        "local": "pinecone:http://127.0.0.1:5080",
    }
    monkeypatch.setenv("CLUSTER_INDEXES", json.dumps(given))
    monkeypatch.setenv("CLUSTER_VECTOR_INDEX", "short")
    settings = Settings()
    assert settings.index_sources == {
        "pgvector": IndexSource(kind="pgvector"),
        "short": IndexSource(kind="pinecone", host=HOST, key_env="PINECONE_API_KEY", requests_per_second=100),
        "long": IndexSource(kind="pinecone", host=HOST, key_env="ACME_KEY", requests_per_second=20),
        "ours": IndexSource(kind="pgvector"),
        "local": IndexSource(kind="pinecone", host="http://127.0.0.1:5080"),
    }
    assert settings.vector_index == "short"
    assert hash(settings) == hash(Settings())


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"indexes": {"Main": "pgvector"}}, "is not a name of an index"),
        ({"indexes": {"main": "qdrant"}}, "not a kind of vector index: write pgvector, pinecone:HOST"),
        ({"indexes": {"main": "pinecone:"}}, "not the host of a Pinecone index"),
        ({"indexes": {"main": "pinecone"}}, "not the host of a Pinecone index"),
        ({"indexes": {"main": "pinecone:http://example.com"}}, "http:// is only for this machine"),
        ({"indexes": {"main": "pinecone:host.io/path"}}, "not the host of a Pinecone index"),
        ({"indexes": {"main": {"kind": "pgvector", "host": HOST}}}, "has no host"),
        ({"indexes": {"main": {"kind": "pinecone", "host": HOST, "key": "pc-1"}}}, "key"),
        ({"indexes": {"pgvector": f"pinecone:{HOST}"}}, "always means the Postgres server"),
        ({"vector_index": "main"}, "names no index; there are: pgvector"),
    ],
)
def test_indexes_that_cannot_work_are_refused(values: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Settings(**values)  # type: ignore[arg-type]
