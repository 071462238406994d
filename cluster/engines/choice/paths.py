"""List the numeric paths that can compute a model on a CPU, and choose the two paths of an engine.

Memory limits the speed of a single query, and arithmetic limits the speed of a batch, so their fastest paths
may differ. No processor flag says which path is faster. So ``timing`` measures the paths, and ``choose``
compares the timings. ``fastest`` calls this module.

    paths = choose(timings, "auto")
    encoder = open_encoder(paths, folder)     # a batch goes to the path of its size
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
    """A forward pass and the number type of its products. Of two equally fast paths, the first is used."""

    #: A vector from this path has the same bits, also if other inputs are in its batch.
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
    """The two numeric paths of an engine; they may be equal."""

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

    #: For a single query.
    query: Mapping[NumericPath, float]
    #: For a batch.
    batch: Mapping[NumericPath, float]


class Encoder(Protocol):
    """Turns packed token ids into vectors of unit length."""

    dim: int

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute (n, dim) float32. Inputs are sorted by length and include their special tokens."""


def candidates(folder: ModelFolder, precision: str) -> tuple[NumericPath, ...]:
    """Return the paths to time for a model at this precision. A single path needs no timing."""
    float32 = (NumericPath.FLOAT32,) if unfit(folder) else (NumericPath.COMPILED, NumericPath.FLOAT32)
    if precision == "float32":
        return float32
    if precision == "bfloat16":
        return (NumericPath.BFLOAT16,)
    # A processor without bfloat16 instructions emulates bfloat16, at a seventh of the speed of float32.
    native = multiplies_bf16()
    if precision == "int8":
        return (*float32, NumericPath.INT8_FLOAT32, *([NumericPath.INT8_BFLOAT16] if native else []))
    return (*float32, *([NumericPath.BFLOAT16] if native else []))


def choose(timings: Timings, precision: str) -> Paths:
    """Choose the fastest path for single queries and the fastest path for batches.

    Raises:
        Misconfigured: int8 is set and is not faster than float32.
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
    """Open an encoder on both paths. If they are equal, the weights are loaded once."""
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
            only one of its two layouts.
    """
    if path is NumericPath.COMPILED:
        return CompiledEncoder(folder, pairs=not short_only)
    dtype = torch.bfloat16 if "bfloat16" in path else torch.float32
    return BertEncoder(folder, device=CPU, dtype=dtype, int8=path.precision == "int8")


class ByLoad:
    """Computes each batch on the path for the batch's size. Safe to call from several threads."""

    def __init__(self, *, query: Encoder, batch: Encoder) -> None:
        self._query, self._batch = query, batch
        self.dim = batch.dim

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute (n, dim) float32. Inputs are sorted by length and include their special tokens."""
        lone = sum(len(one) for one in ids) <= QUERY_TOKENS
        return (self._query if lone else self._batch)(ids)
