"""Copy batches to a GPU and vectors back to the host, and replay recorded forward passes for small batches.

The GPU computes a small batch faster than Python launches the batch's hundred kernels one by one. So the
forward pass is recorded for a few sizes (as CUDA graphs), and replayed on the contents of fixed buffers.
Filler inputs fill the part of the buffers that a batch leaves free; nothing reads the vectors of fillers.
``local`` uses this module for the forward pass of ``forward``.

This module was written without a GPU. The tests cover packing on a CPU, but not recording and replaying.

    replays = Replays(encoder.vectors, device=device, most_tokens=512, record=recorded)
    vectors = replays(ids, to_host)          # (n, dim) float32; None if the batch fits no recorded size
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

#: Number of tokens of each recorded size. A batch uses the smallest size that holds the batch.
SIZES = (32, 64, 128, 256, 512)
#: Maximum number of inputs of a recorded batch.
MOST_INPUTS = 16
#: Number of passes before recording. During these passes, libraries choose kernels and allocate memory.
WARM_UPS = 3

Ids = Sequence[NDArray[np.int32]]
Forward = Callable[[], Tensor]
#: Takes a forward pass that always reads the same memory. Returns a function that repeats the pass, and the
#: tensor with the result of the pass.
Record = Callable[[Forward], tuple[Callable[[], object], Tensor]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A batch in the form that variable-length kernels need: the tokens of one input after the other."""

    #: (tokens,) int32: token ids of all inputs.
    ids: Tensor
    #: (tokens,) int32: position of each token in its input.
    positions: Tensor
    #: (inputs + 1,) int32: first token of each input, and end of the last input. An input can have no token.
    bounds: Tensor
    #: The number of tokens of the longest input, or a larger number.
    longest: int


def to_gpu(ids: Ids, device: torch.device) -> Packed:
    """Copy the batch to the GPU in one step, without waiting for the end of the copy."""
    tokens = sum(map(len, ids))
    host = torch.empty(2 * tokens + len(ids) + 1, dtype=torch.int32, pin_memory=True)
    pack(ids, host.numpy(), inputs=len(ids))
    return unpacked(host.to(device, non_blocking=True), inputs=len(ids), longest=max(map(len, ids)))


def pack(ids: Ids, buffer: NDArray[np.int32], *, inputs: int) -> None:
    """Write the ids, positions and bounds of a batch into the buffer.

    If ``ids`` has fewer than ``inputs`` inputs, the bounds of the missing inputs say that they have no token.
    """
    tokens = sum(map(len, ids))
    np.concatenate(ids, out=buffer[:tokens])
    np.concatenate([np.arange(len(one), dtype=np.int32) for one in ids], out=buffer[tokens : 2 * tokens])
    bounds = buffer[2 * tokens :]
    bounds[0] = 0
    bounds[1 : len(ids) + 1] = np.cumsum([len(one) for one in ids])
    bounds[len(ids) + 1 : inputs + 1] = tokens


def unpacked(buffer: Tensor, *, inputs: int, longest: int) -> Packed:
    """Return the batch that ``pack`` wrote into the buffer, as views of the buffer."""
    tokens = (len(buffer) - inputs - 1) // 2
    return Packed(
        ids=buffer[:tokens],
        positions=buffer[tokens : 2 * tokens],
        bounds=buffer[2 * tokens :],
        longest=longest,
    )


def pooled(x: Tensor, bounds: Tensor, pooling: str) -> Tensor:
    """Return (inputs, hidden) float32: the first vector of each input (``cls``), or the mean of its vectors.

    One kernel computes inputs of all lengths. The row of an input without a token has no meaning.
    """
    if pooling == "cls":
        return x.index_select(0, bounds[:-1].clamp(max=len(x) - 1)).float()
    return torch.segment_reduce(x.float(), "mean", offsets=bounds.long(), axis=0, unsafe=True, initial=0.0)


def to_host(vectors: Tensor) -> NDArray[np.float32]:
    """Copy (n, dim) float32 to pinned memory; the thread sleeps until the copy has ended."""
    host = torch.empty(vectors.shape, dtype=vectors.dtype, pin_memory=True)
    host.copy_(vectors, non_blocking=True)
    # Only a blocking event lets the thread sleep. With any other event, the thread would spin.
    there = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
    there.record()
    there.synchronize()
    return host.numpy()


def recorded(forward: Forward) -> tuple[Callable[[], object], Tensor]:
    """Record the forward pass as a CUDA graph.

    Return the function that replays the graph, and the tensor that each replay writes the result to.
    """
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
    """Holds one recorded forward pass (a CUDA graph) for each size. Safe to call from several threads."""

    def __init__(
        self,
        encode: Callable[[Packed], Tensor],
        *,
        device: torch.device,
        most_tokens: int,
        record: Record,
        sizes: Sequence[int] = SIZES,
    ) -> None:
        """Record the forward pass of each size.

        Args:
            encode: computes (inputs, dim) float32 of a packed batch. Batch and result are on the device.
            device: device of the buffers and of the computation.
            most_tokens: maximum number of tokens of one input.
            record: ``recorded``, or a replacement on a machine without a GPU.
            sizes: number of tokens of each size, ascending.
        """
        self._sizes = [_Size(tokens, encode, device, min(tokens, most_tokens), record) for tokens in sizes]

    def __call__(
        self, ids: Ids, fetch: Callable[[Tensor], NDArray[np.float32]]
    ) -> NDArray[np.float32] | None:
        """Compute the vectors, (n, dim) float32, on the device, and copy the vectors with ``fetch``.

        Return None if the batch has too many tokens or inputs for all sizes.
        """
        tokens = sum(map(len, ids))
        size = next((size for size in self._sizes if tokens <= size.tokens), None)
        return None if size is None or len(ids) > MOST_INPUTS else size(ids, fetch)


class _Size:
    """One recorded forward pass, with the buffers that the pass reads."""

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
        # If the free part of a buffer is longer than the longest possible input, one filler cannot fill it.
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
        with self._lock:  # another batch would overwrite the buffers before ``fetch`` has copied the vectors
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
