"""An engine that sleeps for as long as a GPU would compute, so that many nodes fit on one machine.

Its vectors are those of ``tests.hashing_engine``. The settings name it in the same way as every engine:

    CLUSTER_MODEL=sleeping CLUSTER_MODELS='{"sleeping": "sleeping:64@20"}'

With the source ``sleeping:64@20``, a vector has 64 numbers. A thousand tokens take 20 ms, and each batch 2 ms
more. The folder ``startup`` on PYTHONPATH adds the kind to the registry of every process.
"""

import re
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine, Fingerprint, ModelEntry
from cluster.engines.registry import KINDS
from cluster.errors import Misconfigured
from tests.hashing_engine import HashingEngine, HashingKind, HashingTokeniser, Ids

KIND = "sleeping"
#: The name of a model of this kind, and its value in CLUSTER_MODELS.
NAME, SOURCE = KIND, f"{KIND}:64@20"
PATTERN = re.compile(r"(\d+)@(\d+(?:\.\d+)?)")
#: Time that a batch takes beside the time of its tokens.
BATCH_S = 0.002


class SleepingEngine(HashingEngine):
    """``Engine``: sleeps before it returns the vectors.

    Args:
        seconds_per_token: time that a batch takes for each of its tokens.
    """

    def __init__(self, fingerprint: Fingerprint, *, seconds_per_token: float) -> None:
        super().__init__(fingerprint)
        self._seconds_per_token = seconds_per_token

    def embed_ids(self, ids: Sequence[Ids]) -> NDArray[np.float32]:
        """Return the vectors after the time that a GPU needs."""
        tokens = sum(len(one) + self.tokeniser.special_tokens for one in ids)
        time.sleep(BATCH_S + tokens * self._seconds_per_token)
        return super().embed_ids(ids)


class SleepingKind(HashingKind):
    """``EngineKind``; the source is ``LENGTH@MILLISECONDS``: of a vector, and for a thousand tokens."""

    def describe(self, entry: ModelEntry) -> Fingerprint:
        """Return the fingerprint, which does not depend on the speed."""
        length, _ = _source(entry)
        return Fingerprint(
            model=entry.name,
            revision="sleeping-1",
            dim=length,
            max_tokens=HashingTokeniser.max_content_tokens + HashingTokeniser.special_tokens,
            pooling="sum",
            normalised=True,
            precision="float32",
        )

    def open_engine(self, entry: ModelEntry) -> Engine:
        """Return an engine with this speed."""
        _, milliseconds = _source(entry)
        return SleepingEngine(self.describe(entry), seconds_per_token=milliseconds / 1e6)


def register() -> None:
    """Add the kind to the registry of this process."""
    KINDS[KIND] = SleepingKind()


def _source(entry: ModelEntry) -> tuple[int, float]:
    found = PATTERN.fullmatch(entry.source or "")
    if found is None:
        raise Misconfigured(f"{entry.name}: the kind {KIND} needs a source such as {SOURCE}")
    return int(found[1]), float(found[2])
