"""What is particular to a GPU: one copy to it and one from it with no waiting in between, and recorded forwards for small batches.

A small batch is over before Python has launched its hundred kernels one by one. So the forward is recorded for each of a few
sizes (a CUDA graph) and replayed on whatever was copied into its buffers. What a batch leaves free of them becomes inputs
that nobody reads. Used by ``local``, on the forward of ``bert``.

No GPU was at hand where this was written: the packing is tested on a CPU, recording and replaying nowhere.

    replays = Replays(encoder.vectors, device=device, most_tokens=512, record=recorded)
    vectors = replays(ids, to_host)          # (n, dim) float32, or None when the batch is of no recorded size
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Tokens of the recorded sizes; a batch takes the smallest that holds it.
SIZES = (32, 64, 128, 256, 512)
#: Most inputs of a recorded batch.
MOST_INPUTS = 16
#: Passes before recording, in which libraries choose their kernels and allocate what they keep.
WARM_UPS = 3

Ids = Sequence[NDArray[np.int32]]
Forward = Callable[[], Tensor]
#: Makes of a forward that always reads the same memory what runs it again, and the tensor its result then lies in.
Record = Callable[[Forward], tuple[Callable[[], object], Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A batch as kernels over cumulative lengths read it: the tokens of all inputs in one row."""

    #: (tokens,) int32.
    ids: Tensor
    #: (tokens,) int32: the place of each token in its input.
    positions: Tensor
    #: (inputs + 1,) int32: where each input begins, and where the last one ends. An input may have no token.
    bounds: Tensor
    #: Tokens of the longest input, or more.
    longest: int


def to_gpu(ids: Ids, device: torch.device) -> Packed:
    """The batch on the GPU, in one copy that nobody waits for."""
    tokens = sum(map(len, ids))
    host = torch.empty(2 * tokens + len(ids) + 1, dtype=torch.int32, pin_memory=True)
    pack(ids, host.numpy(), inputs=len(ids))
    return unpacked(host.to(device, non_blocking=True), inputs=len(ids), longest=max(map(len, ids)))


def pack(ids: Ids, buffer: NDArray[np.int32], *, inputs: int) -> None:
    """Write ids, positions and bounds one behind the other; where there are fewer inputs than said, the last ones have no token."""
    tokens = sum(map(len, ids))
    np.concatenate(ids, out=buffer[:tokens])
    np.concatenate([np.arange(len(one), dtype=np.int32) for one in ids], out=buffer[tokens : 2 * tokens])
    bounds = buffer[2 * tokens :]
    bounds[0] = 0
    bounds[1 : len(ids) + 1] = np.cumsum([len(one) for one in ids])
    bounds[len(ids) + 1 : inputs + 1] = tokens


def unpacked(buffer: Tensor, *, inputs: int, longest: int) -> Packed:
    """Views of a buffer that ``pack`` filled."""
    tokens = (len(buffer) - inputs - 1) // 2
    return Packed(
        ids=buffer[:tokens],
        positions=buffer[tokens : 2 * tokens],
        bounds=buffer[2 * tokens :],
        longest=longest,
    )


def pooled(x: Tensor, bounds: Tensor, pooling: str) -> Tensor:
    """(inputs, hidden) float32: each input's first vector or its mean, by one kernel for all lengths.

    The row of an input of no token means nothing.
    """
    if pooling == "cls":
        return x.index_select(0, bounds[:-1].clamp(max=len(x) - 1)).float()
    return torch.segment_reduce(x.float(), "mean", offsets=bounds.long(), axis=0, unsafe=True, initial=0.0)


def to_host(vectors: Tensor) -> NDArray[np.float32]:
    """(n, dim) float32 through pinned memory; the thread sleeps until they are there."""
    host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    host.copy_(vectors, non_blocking=True)
    there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]  # any other event is waited for by spinning
    there.record()
    there.synchronize()
    return host.numpy()


def recorded(forward: Forward) -> tuple[Callable[[], object], Tensor]:
    """The forward as a CUDA graph."""
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UPS):
            forward()
    side.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"):
        result = forward()
    return graph.replay, result


class Replays:
    """Recorded forwards of all sizes. Safe to call from several threads."""

    def __init__(
        self,
        encode: Callable[[Packed], Tensor],
        *,
        device: torch.device,
        most_tokens: int,
        record: Record,
        sizes: Sequence[int] = SIZES,
    ) -> None:
        """Record them.

        Args:
            encode: (inputs, dim) float32 of a packed batch; runs on the device from beginning to end.
            device: where that is.
            most_tokens: most tokens of one input.
            record: ``recorded``, or what stands in for it where there is no GPU.
            sizes: tokens of each, rising.
        """
        self._sizes = [_Size(tokens, encode, device, min(tokens, most_tokens), record) for tokens in sizes]

    def __call__(
        self, ids: Ids, fetch: Callable[[Tensor], NDArray[np.float32]]
    ) -> NDArray[np.float32] | None:
        """What ``fetch`` takes from the device of the batch's (n, dim) float32; None where no size fits."""
        tokens = sum(map(len, ids))
        size = next((size for size in self._sizes if tokens <= size.tokens), None)
        return None if size is None or len(ids) > MOST_INPUTS else size(ids, fetch)


class _Size:
    """One recorded forward and the memory it reads."""

    def __init__(
        self,
        tokens: int,
        encode: Callable[[Packed], Tensor],
        device: torch.device,
        most_tokens: int,
        record: Record,
    ) -> None:
        self.tokens = tokens
        self._most_tokens = most_tokens
        # What a batch leaves free may be longer than an input can be.
        self._inputs = MOST_INPUTS + -(-tokens // most_tokens)
        self._host = torch.empty(
            2 * tokens + self._inputs + 1, dtype=torch.int32, pin_memory=device.type == "cuda"
        )
        self._fill([])
        self._device = self._host.to(device)
        packed = unpacked(self._device, inputs=self._inputs, longest=most_tokens)
        self._replay, self._result = record(lambda: encode(packed))
        self._lock = threading.Lock()

    def __call__(self, ids: Ids, fetch: Callable[[Tensor], NDArray[np.float32]]) -> NDArray[np.float32]:
        with self._lock:  # the buffers are one batch's until its vectors have left
            self._fill(ids)
            self._device.copy_(self._host, non_blocking=True)
            self._replay()
            return fetch(self._result[: len(ids)])

    def _fill(self, ids: Ids) -> None:
        free = self.tokens - sum(map(len, ids))
        fillers = [
            np.zeros(min(self._most_tokens, free - at), np.int32) for at in range(0, free, self._most_tokens)
        ]
        pack([*ids, *fillers], self._host.numpy(), inputs=self._inputs)
