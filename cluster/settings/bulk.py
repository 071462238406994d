"""The engines of bulk jobs: their number and the size of their batches."""

from pydantic import Field

from cluster.settings.values import Concern


class BulkSettings(Concern):
    """The engines of bulk jobs: their number and the size of their batches."""

    bulk_engines: int = Field(default=0, ge=0)
    """Engines of one bulk job. 0: one for each GPU, or one where there is none."""

    bulk_batch_tokens: int = Field(default=16_384, ge=512)
    """Largest batch of a bulk job's engine, in tokens. A CPU takes at most 2,048, because larger batches are
    no faster there. Replicas use ``replica_batch_tokens``."""
