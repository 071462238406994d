"""List the numeric paths that can compute a model on a CPU, and choose the two paths of an engine.

Memory limits the speed of a single query, and arithmetic limits the speed of a batch. So the fastest path for
queries may not be the fastest path for batches. No processor flag says which path is faster. So ``timing``
measures the paths, and ``choose`` compares the timings. ``fastest`` calls this module.

    paths = choose(timings, "auto")
    encoder = open_encoder(paths, folder)     # the size of a batch decides which path computes the batch
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.engines.bert.compiled import PAIRED_FROM, CompiledEncoder, unfit
from cluster.engines.bert.forward import BertEncoder
from cluster.engines.choice.processor import multiplies_bf16
from cluster.engines.weights import ModelFolder
from cluster.errors import Misconfigured

#: Maximum number of tokens in a batch that counts as a single query. For longer inputs, the compiled forward
#: pass uses its second layout.
QUERY_TOKENS = PAIRED_FROM - 1
#: A path replaces an earlier path only if it takes at most this share of the earlier path's time. Smaller
#: gains are noise.
WORTH = 0.95
CPU = torch.device("cpu")


class NumericPath(StrEnum):
    """A forward pass and the number type of its products.

    If two paths are about equally fast, the path that comes first in this list is used.
    """

    #: This path gives an input the same bits, whatever other inputs are in the batch.
    COMPILED = "compiled float32"
    FLOAT32 = "torch float32"
    BFLOAT16 = "torch bfloat16"
    #: 8 bits, and float32 for the layers that need more than 8 bits.
    INT8_FLOAT32 = "int8 and float32"
    INT8_BFLOAT16 = "int8 and bfloat16"

    @property
    def precision(self) -> str:
        """The number type with the lowest precision in which this path computes products."""
        return next(precision for precision in COARSEST_FIRST if precision in self)


COARSEST_FIRST = ("int8", "bfloat16", "float32")


@dataclass(frozen=True, kw_only=True, slots=True)
class Paths:
    """The two numeric paths of an engine. Both can be the same path."""

    #: Path of batches of up to ``QUERY_TOKENS`` tokens.
    query: NumericPath
    #: Path of all other batches.
    batch: NumericPath

    @property
    def precision(self) -> str:
        """The lower precision of the two paths."""
        return min(self.query.precision, self.batch.precision, key=COARSEST_FIRST.index)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timings:
    """The time that each path takes on one core, in milliseconds."""

    #: The time of a single query on each path.
    query: Mapping[NumericPath, float]
    #: The time of a batch on each path.
    batch: Mapping[NumericPath, float]


class Encoder(Protocol):
    """Turns the token ids of a batch into vectors of unit length."""

    dim: int

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute the vectors of n inputs: (n, dim) float32.

        The inputs are sorted by length and include their special tokens.
        """


def candidates(folder: ModelFolder, precision: str) -> tuple[NumericPath, ...]:
    """Return the paths that may compute a model at this precision.

    If there is only one path, the caller does not have to time the paths.
    """
    float32 = (NumericPath.FLOAT32,) if unfit(folder) else (NumericPath.COMPILED, NumericPath.FLOAT32)
    if precision == "float32":
        return float32
    if precision == "bfloat16":
        return (NumericPath.BFLOAT16,)
    # A processor without bfloat16 instructions emulates bfloat16, at a seventh of the speed of float32. So
    # bfloat16 is not worth timing on such a processor.
    native = multiplies_bf16()
    if precision == "int8":
        return (*float32, NumericPath.INT8_FLOAT32, *([NumericPath.INT8_BFLOAT16] if native else []))
    return (*float32, *([NumericPath.BFLOAT16] if native else []))


def choose(timings: Timings, precision: str) -> Paths:
    """Choose the fastest path for single queries and the fastest path for batches.

    If the precision is int8, batches use the fastest 8-bit path.

    Raises:
        Misconfigured: the precision is int8, and int8 is not faster than float32.
    """
    paths = list(timings.batch)
    coarse = [path for path in paths if path.precision == "int8"]
    batch = _fastest(coarse if precision == "int8" else paths, timings.batch)
    if batch.precision == "int8":
        exact = min((path for path in paths if path.precision == "float32"), key=timings.batch.__getitem__)
        if timings.batch[batch] >= timings.batch[exact]:
            raise Misconfigured(
                "CLUSTER_PRECISION=int8 is not faster on this processor: a batch takes "
                f"{timings.batch[batch]:.1f} ms in 8 bits "
                f"and {timings.batch[exact]:.1f} ms in float32 ({exact}); set CLUSTER_PRECISION=auto"
            )
    return Paths(query=_fastest([batch, *paths], timings.query), batch=batch)


def _fastest(paths: Iterable[NumericPath], ms: Mapping[NumericPath, float]) -> NumericPath:
    first, *others = paths
    for path in others:
        if ms[path] <= WORTH * ms[first]:
            first = path
    return first


def open_encoder(paths: Paths, folder: ModelFolder) -> Encoder:
    """Open an encoder on both paths. If both are the same path, the weights are loaded only once."""
    batch = open_path(paths.batch, folder)
    if paths.query == paths.batch:
        return batch
    return ByLoad(query=open_path(paths.query, folder, short_only=True), batch=batch)


def open_path(path: NumericPath, folder: ModelFolder, *, short_only: bool = False) -> Encoder:
    """Open an encoder on one path.

    Args:
        path: path to open.
        folder: folder of the model.
        short_only: True if inputs have at most ``QUERY_TOKENS`` tokens. The compiled forward pass then needs
            only one of its two layouts of the weights.
    """
    if path is NumericPath.COMPILED:
        return CompiledEncoder(folder, pairs=not short_only)
    dtype = torch.bfloat16 if "bfloat16" in path else torch.float32
    return BertEncoder(folder, device=CPU, dtype=dtype, int8=path.precision == "int8")


class ByLoad:
    """Computes each batch on one of two paths, by the batch's size. Safe to call from several threads."""

    def __init__(self, *, query: Encoder, batch: Encoder) -> None:
        self._query, self._batch = query, batch
        self.dim = batch.dim

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute the vectors of n inputs: (n, dim) float32.

        The inputs are sorted by length and include their special tokens.
        """
        lone = sum(len(one) for one in ids) <= QUERY_TOKENS
        return (self._query if lone else self._batch)(ids)
