"""``--chunker`` chooses how the documents of a new store are cut; an existing store keeps its chunker."""

import pytest
from psycopg_pool import ConnectionPool

from cluster.errors import Conflict, InvalidInput
from cluster.settings import Settings
from data_jobs.bulk.target_store import IngestOptions, target_store


def test_a_store_keeps_the_chunker_of_its_first_ingest(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    settings = settings.model_copy(update={"organisation": organisation})
    with pool.connection() as connection:
        made = target_store(connection, settings, "guide", IngestOptions(chunker="headings"))
        assert made.chunking_strategy == {"type": "headings"}
        assert target_store(connection, settings, "guide", IngestOptions()) == made
        assert target_store(connection, settings, "guide", IngestOptions(chunker="headings")) == made
        with pytest.raises(Conflict, match="with the chunker headings and not with semantic"):
            target_store(connection, settings, "guide", IngestOptions(chunker="semantic"))
        assert target_store(connection, settings, "plain", IngestOptions()).chunking_strategy is None
        with pytest.raises(InvalidInput, match="semantic needs vectors at once"):
            target_store(
                connection, settings, "later", IngestOptions(chunker="semantic", provider_batch=True)
            )
