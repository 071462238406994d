"""Compute vectors with local weights in one process, in several threads.

On a CPU, each core has a thread that computes batches. Urgent batches have their own threads. An urgent batch
does not stop a running batch. Instead, the first urgent batch raises the nice value of the threads for bulk
batches. Then the system's scheduler gives an urgent thread a core as soon as the thread wakes, even in the
middle of a bulk batch. On a GPU, each thread has its own stream, so one batch is copied while another batch
is computed. Urgent streams have a higher priority.

    engine = LocalEngine(folder, settings)
    engine.embed(["a text"]).vectors
"""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import structlog
import torch
from numpy.typing import NDArray

from cluster.engines.bert.forward import BertEncoder
from cluster.engines.bert.gpu import Replays, recorded, to_host
from cluster.engines.bert.plan import plan
from cluster.engines.choice.fastest import open_on_cpu, threads_of
from cluster.engines.choice.paths import Encoder, Paths
from cluster.engines.contract import Embeddings, Fingerprint
from cluster.engines.priority import Lanes
from cluster.engines.tokens.tokeniser import LocalTokeniser
from cluster.engines.weights import ModelFolder
from cluster.errors import InvalidInput, Misconfigured, Unavailable
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Maximum number of tokens of a batch on a CPU. Between 512 and 4,096 tokens, the speed differs by less than
#: 3%. With smaller batches, the threads finish their work at more similar times.
CPU_BATCH_TOKENS = 2048
#: Number of batches in flight on a GPU: one batch is copied to the GPU, one is computed, one is copied back.
GPU_BATCHES = 3


class LocalEngine:
    """Implements ``Engine`` with the packed forward pass of BERT and related encoders."""

    billed = False

    def __init__(self, folder: ModelFolder, settings: Settings, paths: Paths | None = None) -> None:
        """Load the weights.

        Args:
            folder: folder of the model.
            settings: device, precision and threads.
            paths: numeric paths on a CPU. None: the fastest paths at the precision of the settings.

        Raises:
            Misconfigured: int8 is set on a GPU, or on a processor where int8 is not faster than float32; or
                the tokeniser is missing or does not belong to the model.
        """
        self.device = torch.device(pick_device(settings))
        cuda = self.device.type == "cuda"
        self.tokeniser = LocalTokeniser(folder)
        self.prompts, self.dimensions = folder.prompts, folder.dimensions
        self._prefix, self._suffix = (
            np.array(part, np.int32) for part in (self.tokeniser.prefix, self.tokeniser.suffix)
        )
        self._encoder: Encoder
        if cuda:
            self._encoder, precision = open_on_gpu(folder, settings, self.device)
        else:
            self._encoder, precision = open_on_cpu(folder, settings, paths)
        self.fingerprint: Fingerprint = folder.fingerprint(precision)
        self._replays = self._record(self._encoder, folder.max_tokens)
        self._threads = GPU_BATCHES if cuda else threads_of(settings)
        self._budget = (
            settings.bulk_batch_tokens if cuda else min(settings.bulk_batch_tokens, CPU_BATCH_TOKENS)
        )
        lanes = Lanes()
        self._workers = ThreadPoolExecutor(self._threads, "encoder", _begin_thread, (lanes, False, cuda))
        self._urgent = ThreadPoolExecutor(2 * self._threads + 1, "urgent", _begin_thread, (lanes, True, cuda))

    @property
    def concurrency(self) -> int:
        """Number of batches that are computed at the same time at full speed."""
        return self._threads

    @property
    def packed(self) -> bool:
        """True: batches are never padded."""
        return True

    @property
    def preempts(self) -> bool:
        """True: urgent batches have their own threads, or their own streams."""
        return True

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Compute the vectors of the texts. Tokens beyond the model's limit are cut off and counted."""
        ids = self.tokeniser.ids(texts)
        lengths = np.array([len(one) for one in ids], dtype=np.int32)
        kept = np.minimum(lengths, self.tokeniser.max_content_tokens)
        vectors = self._encode([one[:most] for one, most in zip(ids, kept, strict=True)])
        return Embeddings(
            vectors=vectors,
            token_counts=(kept + self.tokeniser.special_tokens).astype(np.int32),
            truncated=(lengths - kept).astype(np.int32),
        )

    def embed_ids(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Compute the vectors, (n, dim) float32, of tokenised inputs without their special tokens.

        Raises:
            InvalidInput: an input is too long, or an id is not in the vocabulary.
        """
        check_ids(ids, self.tokeniser)
        return self._encode(ids)

    def submit(
        self, batch: Sequence[NDArray[np.int32]], *, urgent: bool = False
    ) -> Future[NDArray[np.float32]]:
        """Compute the vectors of one batch of tokenised inputs, (n, dim) float32, in one worker thread."""
        return (self._urgent if urgent else self._workers).submit(self._encode_batch, batch)

    def _encode_batch(self, batch: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        check_ids(batch, self.tokeniser)
        order = np.argsort([-len(one) for one in batch], kind="stable")
        vectors = np.empty((len(batch), self._encoder.dim), dtype=np.float32)
        vectors[order] = self._forward([self._whole(batch[i]) for i in order])
        return vectors

    def _whole(self, ids: NDArray[np.int32]) -> NDArray[np.int32]:
        return np.concatenate([self._prefix, ids, self._suffix])

    def _encode(self, ids: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        whole = [self._whole(one) for one in ids]
        vectors = np.empty((len(ids), self._encoder.dim), dtype=np.float32)

        def run(batch: NDArray[np.intp]) -> None:
            vectors[batch] = self._forward([whole[i] for i in batch])

        batches = plan([len(one) for one in whole], budget=self._budget, parts=self._threads)
        for _ in self._workers.map(run, batches):
            pass
        return vectors

    def _forward(self, batch: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        """Compute the vectors of a batch, (n, dim) float32. Halve a batch that the GPU's memory cannot hold.

        Raises:
            Unavailable: a single input does not fit into the GPU's free memory, or the GPU no longer
                computes. If the GPU no longer computes, the health check fails, too.
        """
        try:
            with torch.inference_mode():
                return self._vectors(batch)
        except torch.OutOfMemoryError as exc:
            if len(batch) == 1:
                raise Unavailable(
                    f"{len(batch[0])} tokens do not fit into the GPU's free memory", retry_after_s=5.0
                ) from exc
        except torch.AcceleratorError as exc:
            raise Unavailable(
                f"the GPU no longer computes: {str(exc).splitlines()[0]}", retry_after_s=5.0
            ) from exc
        log.warning("batch_halved", inputs=len(batch), because="out of GPU memory")
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        return np.concatenate([self._forward(batch[:middle]), self._forward(batch[middle:])])

    def _vectors(self, batch: Sequence[NDArray[np.int32]]) -> NDArray[np.float32]:
        if self.device.type == "cpu":
            return self._encoder(batch).numpy()
        small = None if self._replays is None else self._replays(batch, to_host)
        return to_host(self._encoder(batch)) if small is None else small

    def _record(self, encoder: Encoder, most_tokens: int) -> Replays | None:
        if not isinstance(encoder, BertEncoder) or not encoder.has_kernel:
            return None
        with torch.inference_mode():
            return Replays(encoder.vectors, device=self.device, most_tokens=most_tokens, record=recorded)


def _begin_thread(lanes: Lanes, urgent: bool, cuda: bool) -> None:
    torch.set_num_threads(1)  # OpenMP keeps this number for each thread separately
    if cuda:
        torch.cuda.set_stream(torch.cuda.Stream(priority=-1 if urgent else 0))  # type: ignore[no-untyped-call]
    lanes.join(urgent=urgent)


def open_on_gpu(folder: ModelFolder, settings: Settings, device: torch.device) -> tuple[Encoder, str]:
    """Load the model's encoder on a GPU. Return the encoder and the name of the encoder's precision.

    Raises:
        Misconfigured: the precision of the settings is int8.
    """
    if settings.precision == "int8":
        raise Misconfigured(
            "CLUSTER_PRECISION=int8 is for CPUs; on a GPU set CLUSTER_PRECISION=auto or CLUSTER_DEVICE=cpu"
        )
    precision = "bfloat16" if settings.precision == "auto" else settings.precision
    log.info("encoder_opened", path=f"torch {precision}", device=str(device))
    return BertEncoder(folder, device=device, dtype=getattr(torch, precision)), precision


def check_ids(ids: Sequence[NDArray[np.int32]], tokeniser: LocalTokeniser) -> None:
    """Check that the model can read the inputs.

    Raises:
        InvalidInput: an input is too long, or an id is not in the vocabulary.
    """
    most, vocabulary = tokeniser.max_content_tokens, tokeniser.vocabulary_size
    for position, one in enumerate(ids):
        if len(one) > most:
            raise InvalidInput(f"input {position} has {len(one)} tokens; the model reads {most}")
    flat = np.concatenate(ids) if len(ids) else np.empty(0, np.int32)
    if len(flat) and (flat.min() < 0 or flat.max() >= vocabulary):
        position = next(
            position
            for position, one in enumerate(ids)
            if len(one) and (one.min() < 0 or one.max() >= vocabulary)
        )
        raise InvalidInput(f"input {position} has a token id outside 0..{vocabulary - 1}")


def pick_device(settings: Settings) -> str:
    """Return the device of the settings; for ``auto``, ``cuda`` if torch finds a GPU, otherwise ``cpu``."""
    if settings.device != "auto":
        return settings.device
    return "cuda" if torch.cuda.is_available() else "cpu"
