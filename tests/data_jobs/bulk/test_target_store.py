"""A bulk ingest creates a store on the chosen index, and an existing store keeps its index."""

from typing import Any

import pytest
from psycopg import Connection

from cluster.errors import Conflict, InvalidInput
from cluster.settings import Settings
from cluster.settings.indexes import PGVECTOR
from data_jobs.bulk.target_store import IngestOptions, target_store
from tests import folder_index


def test_a_new_store_takes_the_named_index_and_keeps_it(
    settings: Settings, connection: Connection[Any], organisation: str
) -> None:
    ours = settings.model_copy(update={"organisation": organisation, "vector_index": folder_index.NAME})
    on = {name: IngestOptions(index=name) for name in (PGVECTOR, folder_index.NAME)}
    assert target_store(connection, ours, "a", on[PGVECTOR]).index == PGVECTOR
    assert target_store(connection, ours, "b", IngestOptions()).index == folder_index.NAME
    assert target_store(connection, ours, "a", IngestOptions()).index == PGVECTOR
    with pytest.raises(Conflict, match=rf"keeps its vectors in the index {PGVECTOR} and not in .*--index"):
        target_store(connection, ours, "a", on[folder_index.NAME])
    with pytest.raises(InvalidInput, match="no vector index 'elsewhere' is configured"):
        target_store(connection, ours, "c", IngestOptions(index="elsewhere"))
