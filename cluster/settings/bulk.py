"""The number of engines of bulk jobs, and the size of the batches of these engines."""

from pydantic import Field

from cluster.settings.values import Concern


class BulkSettings(Concern):
    """The engines of bulk jobs: their number and the size of their batches."""

    bulk_engines: int = Field(default=0, ge=0)
    """Number of engines of one bulk job. 0: one engine for each GPU, or one engine if there is no GPU."""

    bulk_batch_tokens: int = Field(default=16_384, ge=512)
    """Maximum number of tokens of a batch of a bulk job's engine. A CPU takes at most 2,048, because larger
    batches are not faster on a CPU. Replicas use ``replica_batch_tokens``."""
