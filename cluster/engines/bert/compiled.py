"""Call the compiled forward pass (``bert_avx2.c``: float32, AVX2) through ctypes.

The C code computes the same vectors as ``forward`` from the same packed tokens. It runs once per batch, on
the calling thread, without Python's lock. The C code is compiled when the project is installed. If there was
no compiler, or the C code does not support the processor or the model, ``unfit`` returns the reason and
``forward`` runs instead. docs/decisions/014-a-compiled-forward.md explains why the C code can be faster than
the matrix products of a library; ``timing`` measures whether the C code is faster.

    encoder = CompiledEncoder(folder)        # only if unfit(folder) is None
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

from cluster.engines.bert.attention import biases_by_distance
from cluster.engines.bert.weights import Affine, BertWeights
from cluster.engines.families import family_of
from cluster.engines.weights import ModelFolder

LIBRARY = "cluster.engines.bert._avx2"
#: Number of outputs of a layer that are computed together.
PANEL = 16
#: For an input with this number of tokens or more, the C code multiplies two rows (tokens) at a time. Pairs
#: of rows need an eighth fewer multiplications, but read twice as many weights. So a single shorter input
#: would be slower in pairs, because it would wait for memory.
PAIRED_FROM = 32
#: Size of a huge page in bytes.
HUGE = 2 << 20
#: The number that the C source uses for each activation.
ACTIVATIONS = {"none": 0, "gelu": 1, "relu": 2}


class _NormStruct(Structure):
    _fields_ = (("weight", c_void_p), ("bias", c_void_p))


class _LinearStruct(Structure):
    _fields_ = (("panels", c_void_p), ("bias", c_void_p), ("combined", c_void_p))


class _LayerStruct(Structure):
    _fields_ = (
        *((part, _LinearStruct) for part in ("qkv", "projection", "up", "down")),
        *((part, _NormStruct) for part in ("after_attention", "after_output")),
    )


class _ModelStruct(Structure):
    _fields_ = (
        *(
            (name, c_int64)
            for name in (
                "hidden",
                "inner",
                "heads",
                "depth",
                "longest",
                "activation",
                "first_token_only",
                "paired_from",
            )
        ),
        ("eps", c_double),
        *((name, c_void_p) for name in ("words", "positions", "distance_bias")),
        ("embeddings", _NormStruct),
        ("layers", POINTER(_LayerStruct)),
    )


@cache
def library() -> ctypes.CDLL | None:
    """Load and return the compiled library.

    Return None if the library was not compiled, or if this processor cannot run the library.
    """
    spec = find_spec(LIBRARY)
    if spec is None or spec.origin is None:
        return None
    compiled = ctypes.CDLL(spec.origin)
    compiled.bert_supported.restype = c_int64
    if not compiled.bert_supported():
        return None
    compiled.bert_pack.argtypes, compiled.bert_pack.restype = (
        (c_void_p, c_int64, c_int64, c_void_p, c_void_p),
        None,
    )
    compiled.bert_workspace.argtypes, compiled.bert_workspace.restype = (
        (POINTER(_ModelStruct), c_void_p, c_int64),
        c_int64,
    )
    compiled.bert_forward.argtypes = (POINTER(_ModelStruct), c_void_p, c_void_p, c_int64, c_void_p, c_void_p)
    compiled.bert_forward.restype = None
    return compiled


def unfit(folder: ModelFolder) -> str | None:
    """Return the reason why the compiled code cannot run the model; None if there is no reason.

    The caller has checked that ``forward`` supports the model.
    """
    config, family = folder.config, family_of(folder.config)
    assert family is not None
    hidden, heads = int(config[family.hidden]), int(config[family.heads])
    if any(width % PANEL for width in (hidden, hidden // heads, int(config[family.inner]))):
        return f"its widths are not multiples of {PANEL}"
    if library() is None:
        return "the project was installed without a C compiler, or the processor has no AVX2"
    return None


class CompiledEncoder:
    """Turns the token ids of a batch into vectors of unit length. Safe to call from several threads."""

    def __init__(self, folder: ModelFolder, *, pairs: bool = True) -> None:
        """Copy the weights into the layout of the C code.

        Args:
            folder: folder of the model.
            pairs: True to copy the weights also into a second layout, which inputs of ``PAIRED_FROM`` tokens
                or more use. Without the second layout, these inputs take an eighth longer. Models whose
                widths are not multiples of ``2 * PANEL`` never have the second layout.
        """
        compiled = library()
        assert (
            compiled is not None
        )  # callers call ``unfit`` first, which returns a reason if there is no library
        self._library = compiled
        weights = BertWeights(folder)
        self.dim = weights.hidden
        self._vocabulary, self._longest = len(weights.words), len(weights.positions)
        self._kept: list[Tensor] = []
        self._of_thread = threading.local()
        self._pairs = pairs and weights.hidden % (2 * PANEL) == 0 == weights.inner % (2 * PANEL)
        numbers = weights.depth * weights.hidden * (4 * weights.hidden + 2 * weights.inner)
        self._free = _huge_pages(2 * numbers if self._pairs else numbers)
        table = weights.distance_bias
        self._model = _ModelStruct(
            hidden=weights.hidden,
            inner=weights.inner,
            heads=weights.heads,
            depth=weights.depth,
            longest=self._longest,
            activation=ACTIVATIONS[weights.activation],
            first_token_only=folder.pooling == "cls",
            paired_from=PAIRED_FROM if self._pairs else self._longest + 1,
            eps=weights.eps,
            words=self._keep(weights.words),
            positions=self._keep(weights.positions),
            distance_bias=None
            if table is None
            else self._keep(biases_by_distance(table, longest=self._longest)),
            embeddings=self._norm(weights.embeddings),
            layers=(_LayerStruct * weights.depth)(
                *(self._layer(weights, number) for number in range(weights.depth))
            ),
        )

    def __call__(self, ids: Sequence[NDArray[np.int32]]) -> Tensor:
        """Compute the vectors of n inputs: (n, dim) float32.

        The inputs may have any order and include their special tokens.

        Raises:
            IndexError: an input is empty or too long, or an id is not in the vocabulary.
        """
        flat = np.concatenate(ids).astype(np.int32, copy=False)
        lengths = np.array([len(one) for one in ids], np.int64)
        if (
            lengths.min() < 1
            or lengths.max() > self._longest
            or flat.min() < 0
            or flat.max() >= self._vocabulary
        ):
            raise IndexError("an input is empty or too long, or an id is not in the vocabulary")
        model, vectors = byref(self._model), torch.empty(len(ids), self.dim)
        space = self._space(self._library.bert_workspace(model, lengths.ctypes.data, len(ids)))
        self._library.bert_forward(
            model, flat.ctypes.data, lengths.ctypes.data, len(ids), space.data_ptr(), vectors.data_ptr()
        )
        return vectors

    def _space(self, numbers: int) -> Tensor:
        """Return working memory of the calling thread, with room for at least this many numbers."""
        space: Tensor | None = getattr(self._of_thread, "space", None)
        if space is None or len(space) < numbers:
            space = self._of_thread.space = _huge_pages(numbers)
        return space

    def _layer(self, weights: BertWeights, number: int) -> _LayerStruct:
        layer = weights.layer(number)
        linears = {part: self._linear(getattr(layer, part)) for part in ("qkv", "projection", "up", "down")}
        norms = {part: self._norm(getattr(layer, part)) for part in ("after_attention", "after_output")}
        return _LayerStruct(**linears, **norms)

    def _linear(self, affine: Affine) -> _LinearStruct:
        weight = affine.weight.contiguous()
        panels, combined = self._part(weight.numel()), self._part(weight.numel()) if self._pairs else None
        self._library.bert_pack(weight.data_ptr(), *weight.shape, panels, combined)
        return _LinearStruct(panels, self._keep(affine.bias), combined)

    def _part(self, numbers: int) -> int:
        """Reserve memory for this many numbers in the huge pages. Return the address of this memory."""
        part, self._free = self._free[:numbers], self._free[numbers:]
        return self._keep(part)

    def _norm(self, affine: Affine) -> _NormStruct:
        return _NormStruct(self._keep(affine.weight), self._keep(affine.bias))

    def _keep(self, tensor: Tensor) -> int:
        """Keep the tensor, or a contiguous copy, as long as the encoder. Return the numbers' address."""
        self._kept.append(tensor.contiguous())
        return self._kept[-1].data_ptr()


def _huge_pages(numbers: int) -> Tensor:
    """Allocate a tensor of (numbers,) float32 zeros, in huge pages if the system has huge pages.

    A query reads all weights once. With pages of 4 KiB, page look-ups would take a tenth of the query's time.
    """
    memory = mmap.mmap(-1, -(-4 * numbers // HUGE) * HUGE + HUGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    tensor = torch.frombuffer(memory, dtype=torch.float32)
    skipped = -tensor.data_ptr() % HUGE // 4
    return tensor[skipped : skipped + numbers]
