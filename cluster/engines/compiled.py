"""The forward of ``bert`` compiled, for float32 where AVX2 is the fastest: ``bert_avx2.c``, called through ctypes.

The same mathematics on the same packed tokens, one call a batch on the calling thread, without Python's lock. It is made when the
project is installed; where that had no compiler, or the processor or the model is another, ``unfit`` says so and ``bert`` runs.
Why it is faster than a library's products one by one, and where it is not used: docs/decisions/014-a-compiled-forward.md.

    encoder = CompiledEncoder(folder)        # after unfit(folder) said None
    vectors = encoder(ids)                   # (n, dim) float32, unit length
"""

import ctypes
import mmap
import threading
from collections.abc import Sequence
from ctypes import POINTER, Structure, byref, c_double, c_int64, c_void_p
from functools import cache
from importlib.util import find_spec

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.engines.attention import biases_by_distance
from cluster.engines.bert_weights import Affine, BertWeights
from cluster.engines.families import family_of
from cluster.engines.processor import gains_by_avx512
from cluster.engines.weights import ModelFolder

LIBRARY = "cluster.engines._bert_avx2"
#: Outputs of a layer are computed so many at a time.
PANEL = 16
#: Bytes of a huge page.
HUGE = 2 << 20
#: As in the C source.
ACTIVATIONS = {"none": 0, "gelu": 1, "relu": 2}


class _Affine(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class _Layer(Structure):
    _fields_ = tuple((part, _Affine) for part in ("qkv", "projection", "up", "down", "after_attention", "after_output"))


class _Model(Structure):
    _fields_ = (
        *((name, c_int64) for name in ("hidden", "inner", "heads", "depth", "longest", "activation", "first_token_only")),
        ("eps", c_double),
        *((name, c_void_p) for name in ("words", "positions", "distance_bias")),
        ("embeddings", _Affine),
        ("layers", POINTER(_Layer)),
    )


@cache
def library() -> ctypes.CDLL | None:
    """What was compiled at installation; None where nothing was, or where this processor cannot run it."""
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        return None
    compiled = ctypes.CDLL(spec.origin)
    compiled.bert_supported.restype = compiled.bert_workspace.restype = c_int64
    compiled.bert_pack.argtypes, compiled.bert_pack.restype = (c_void_p, c_int64, c_int64, c_void_p), None
    compiled.bert_workspace.argtypes = (POINTER(_Model), c_int64, c_int64)
    compiled.bert_forward.argtypes = (POINTER(_Model), c_void_p, c_void_p, c_int64, c_void_p, c_void_p)
    compiled.bert_forward.restype = None
    return compiled if compiled.bert_supported() else None


def unfit(folder: ModelFolder) -> str | None:
    """Why a model that ``bert`` supports is not for this forward, or not here; None when it is."""
    config, family = folder.config, family_of(folder.config)
    assert family is not None
    hidden, heads = int(config[family.hidden]), int(config[family.heads])
    if any(width % PANEL for width in (hidden, hidden // heads, int(config[family.inner]))):
        return f"its widths are no multiples of {PANEL}"
    if gains_by_avx512():
        return "the processor multiplies faster by AVX-512"
    if library() is None:
        return "it was installed without a C compiler, or the processor has no AVX2"
    return None


class CompiledEncoder:
    """Packed token ids to unit vectors. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder) -> None:
        """Lay the weights out."""
        compiled = library()
        assert compiled is not None  # ``unfit`` said so
        self._library = compiled
        weights = BertWeights(folder)
        self.dim = weights.hidden
        self._vocabulary, self._longest = len(weights.words), len(weights.positions)
        self._kept: list[Tensor] = []
        self._of_thread = threading.local()
        self._free = _huge_pages(weights.depth * weights.hidden * (4 * weights.hidden + 2 * weights.inner))
        table = weights.distance_bias
        self._model = _Model(
            hidden=weights.hidden,
            inner=weights.inner,
            heads=weights.heads,
            depth=weights.depth,
            longest=self._longest,
            activation=ACTIVATIONS[weights.activation],
            first_token_only=folder.pooling == "cls",
            eps=weights.eps,
            words=self._keep(weights.words),
            positions=self._keep(weights.positions),
            distance_bias=None if table is None else self._keep(biases_by_distance(table, longest=self._longest)),
            embeddings=self._kept_pair(weights.embeddings),
            layers=(_Layer * weights.depth)(*(self._layer(weights, number) for number in range(weights.depth))),
        )

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """(n, dim) float32 for inputs with their special tokens, in any order.

        Raises:
            IndexError: an input is empty or too long, or an id is not in the vocabulary.
        """
        flat = np.concatenate(ids).astype(np.int32, copy=False)
        lengths = np.array([len(one) for one in ids], np.int64)
        if lengths.min() < 1 or lengths.max() > self._longest or flat.min() < 0 or flat.max() >= self._vocabulary:
            raise IndexError("an input is empty or too long, or an id is not in the vocabulary")
        model, vectors = byref(self._model), torch.empty(len(ids), self.dim)
        space = self._space(self._library.bert_workspace(model, len(flat), int(lengths.max())))
        self._library.bert_forward(model, flat.ctypes.data, lengths.ctypes.data, len(ids), space.data_ptr(), vectors.data_ptr())
        return vectors

    def _space(self, numbers: int) -> Tensor:
        """The calling thread's working memory, at least so large."""
        space: Tensor | None = getattr(self._of_thread, "space", None)
        if space is None or len(space) < numbers:
            space = self._of_thread.space = _huge_pages(numbers)
        return space

    def _layer(self, weights: BertWeights, number: int) -> _Layer:
        layer = weights.layer(number)
        linears = {part: self._linear(getattr(layer, part)) for part in ("qkv", "projection", "up", "down")}
        norms = {part: self._kept_pair(getattr(layer, part)) for part in ("after_attention", "after_output")}
        return _Layer(**linears, **norms)

    def _linear(self, affine: Affine) -> _Affine:
        weight = affine.weight.contiguous()
        panels, self._free = self._free[: weight.numel()], self._free[weight.numel() :]
        self._library.bert_pack(weight.data_ptr(), *weight.shape, panels.data_ptr())
        return self._kept_pair(Affine(panels, affine.bias))

    def _kept_pair(self, affine: Affine) -> _Affine:
        return _Affine(self._keep(affine.weight), self._keep(affine.bias))

    def _keep(self, tensor: Tensor) -> int:
        """Where its numbers lie, as long as this encoder lives."""
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()


def _huge_pages(numbers: int) -> Tensor:
    """(numbers,) float32, zero, in huge pages where the system gives them: a query reads all weights once, and finding the pages
    of 4 KiB they would lie in costs it a tenth of its time."""
    memory = mmap.mmap(-1, -(-4 * numbers // HUGE) * HUGE + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    tensor = torch.frombuffer(memory, dtype=torch.float32)
    skipped = -tensor.data_ptr() % HUGE // 4
    return tensor[skipped : skipped + numbers]
