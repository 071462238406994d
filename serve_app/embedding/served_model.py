"""A served model: its engine with tokeniser and prompts, its batcher, and the handling of long inputs.

``served_models`` creates a ``ServedModel`` for each model of the registry, and the routes use the model. The
engine runs in this process, or in the replicas of the model's own deployment.

    model = ServedModel.local(entry.name, open_engine(entry), settings, usage)
    made = await model.embed_texts(["a text"], context)
"""

import math
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine, ModelEntry, describe, open_tokeniser, properties
from cluster.errors import InvalidInput
from cluster.settings import Settings
from cluster.tracing import CLIENT, INTERNAL, span
from cluster.tracing.conventions import embeddings
from cluster.usage.events import EMBEDDING, UsageSource
from serve_app.embedding.admission import Admission
from serve_app.embedding.batching import Batcher, Lane
from serve_app.embedding.inputs import refuse_many_tokens
from serve_app.embedding.long_inputs import CUT, INPUT, InputField, LongInputPolicy, Side
from serve_app.embedding.output import unit_length
from serve_app.embedding.remote_model import CallReplica, ModelDescription, RemoteBatcher, RemoteModel
from serve_app.embedding.tokenising import INTERACTIVE_TOKENS, Tokenising, too_long
from serve_app.usage.usage_recorder import UsageRecorder

Ids = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestContext:
    """The properties of a request that are not in its body."""

    organisation: str
    #: Lane of the batcher; None: the size of the request chooses the lane.
    lane: Lane | None = None
    #: Seconds from now after which the answer is useless.
    deadline_s: float = math.inf
    #: Source under which the tokens are recorded as usage.
    source: UsageSource = UsageSource.HTTP
    #: Id of the platform's agent for which the request works; None if it works for no agent.
    agent: str | None = None
    #: False if the caller admits the work and records the usage.
    records_usage: bool = True
    #: Reserves the tokens of a request of a batch, with the name of the model, before the model reads them.
    #: None: nothing has to be reserved.
    reserve: Callable[[str, int], Awaitable[None]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedInputs:
    """The vectors of n inputs and their token counts, in the order of the inputs."""

    #: (n, dim) float32, unit length.
    vectors: NDArray[np.float32]
    #: Number of tokens that the model read of each input, special tokens and prompts included.
    token_counts: list[int]
    #: Number of tokens that were cut off from each input; 0 if the input was not too long.
    truncated: list[int]
    #: Number of parts of each input whose vectors were averaged; 1 if the input was not too long.
    parts: list[int]


class ServedModel:
    """An engine and its batcher, with the model name that clients use.

    Args:
        name: the name that clients use.
        engine: the engine; or its description, if the engine runs in other replicas.
        batcher: computes vectors.
        usage: records the tokens that the model reads.
        threads: number of threads that tokenise long texts.
        admission: admits the tokens of each request before the model reads them.
    """

    def __init__(
        self,
        name: str,
        engine: ModelDescription,
        batcher: Batcher | RemoteBatcher,
        usage: UsageRecorder,
        *,
        threads: int,
        admission: Admission | None = None,
    ) -> None:
        self.name = name
        self.engine = engine
        self.batcher = batcher
        #: Number of HTTP requests whose inputs have no vectors yet.
        self.waiting_requests = 0
        self._span_kind = CLIENT if isinstance(batcher, RemoteBatcher) else INTERNAL
        self._usage = usage
        self._admission = admission or Admission()
        self._tokenising = Tokenising(engine.tokeniser, threads=threads)

    @classmethod
    def local(
        cls,
        name: str,
        engine: Engine,
        settings: Settings,
        usage: UsageRecorder,
        weights: Mapping[str, float] | None = None,
        admission: Admission | None = None,
    ) -> Self:
        """Serve a model with an engine of this process.

        Args:
            weights: as in ``open_batcher``.
            admission: as in the constructor.
        """
        batcher = open_batcher(engine, settings, weights)
        return cls(name, engine, batcher, usage, threads=engine.concurrency, admission=admission)

    @classmethod
    def remote(
        cls, entry: ModelEntry, call: CallReplica, usage: UsageRecorder, admission: Admission | None = None
    ) -> Self:
        """Serve a model whose engine runs in its own deployment.

        Raises:
            Misconfigured: the entry does not name a model that can be opened.
        """
        fingerprint, known = describe(entry), properties(entry)
        model = RemoteModel(
            fingerprint=fingerprint,
            tokeniser=open_tokeniser(entry),
            prompts=known.prompts,
            dimensions=known.dimensions,
        )
        threads = entry.settings.engine_threads or os.cpu_count() or 1
        batcher = RemoteBatcher(fingerprint, call)
        return cls(entry.name, model, batcher, usage, threads=threads, admission=admission)

    @property
    def max_tokens(self) -> int:
        """Maximum number of tokens of one input, special tokens included."""
        return self.max_content_tokens + self.engine.tokeniser.special_tokens

    @property
    def max_content_tokens(self) -> int:
        """Maximum number of tokens of one input, special tokens not counted."""
        return self.engine.tokeniser.max_content_tokens

    async def tokenise(self, texts: Sequence[str], *, most: int | None = None) -> list[Ids]:
        """Return the token ids of each whole text, without special tokens.

        Raises:
            InvalidInput: the texts are long, and a text has more than ``most`` tokens or all texts together
                have too many tokens. The caller must check the tokens of short texts.
        """
        return await self._tokenising.ids(texts, INPUT, most=most)

    async def embed_texts(
        self,
        texts: Sequence[str],
        context: RequestContext,
        *,
        prompt: str = "",
        long: LongInputPolicy = CUT,
        named: InputField = INPUT,
    ) -> EmbeddedInputs:
        """Return the vectors of the texts; the prompt is put before each text.

        Raises:
            InvalidInput: a text is too long and ``long`` refuses long texts, all texts together are too long,
                or the model does not allow ``long.most``.
            Throttled: too many tokens wait already, or the deadline cannot be met.
        """
        prefix = (await self.tokenise([prompt]))[0] if prompt else np.empty(0, np.int32)
        most = self._most(long) if long.overflow == "error" else None
        ids = await self._tokenising.ids(
            [prompt + text for text in texts] if prompt else texts, named, most=most
        )
        return await self.embed_ids(ids, context, long=long, named=named, prefix=len(prefix))

    async def embed_ids(
        self,
        ids: Sequence[Ids],
        context: RequestContext,
        *,
        long: LongInputPolicy = CUT,
        named: InputField = INPUT,
        prefix: int = 0,
    ) -> EmbeddedInputs:
        """Return the vectors of tokenised inputs.

        Args:
            ids: token ids of each input, without special tokens.
            context: the context of the request.
            long: the rule for inputs that are too long.
            named: the request's field, for error messages.
            prefix: number of tokens of the prompt at the start of each input; the prompt is also put before
                every part of a long input.

        Raises:
            InvalidInput, Throttled: as in ``embed_texts``.
        """
        refuse_many_tokens(ids, named)
        most = self._most(long)
        if long.overflow == "error":
            _refuse_long(ids, most, named)
        averages = long.overflow == "mean"
        parts = [
            _in_parts(one, most, prefix) if averages else [_cut(one, most, prefix, long.side)] for one in ids
        ]
        flat = [part for several in parts for part in several]
        kept = sum(map(len, flat))
        lane = context.lane or ("interactive" if kept <= INTERACTIVE_TOKENS else "bulk")
        tokens = kept + len(flat) * self.engine.tokeniser.special_tokens
        if not context.records_usage:  # the caller admits and counts such inputs, such as those of a batch
            if context.reserve is not None:
                await context.reserve(self.name, tokens)
            vectors = await self._vectors(flat, context, lane)
            return self._made(ids, parts, vectors, averages=averages)
        vectors = await self._admitted_vectors(flat, context, lane, tokens)
        return self._made(ids, parts, vectors, averages=averages)

    async def _admitted_vectors(
        self, ids: list[Ids], context: RequestContext, lane: Lane, tokens: int
    ) -> NDArray[np.float32]:
        """Compute the vectors when the gates have admitted the tokens, and record the tokens as usage."""
        owner, source = context.organisation, context.source
        async with self._admission.admit(
            owner, kind=EMBEDDING, model=self.name, tokens=tokens, source=source, agent=context.agent
        ) as admitted:
            self.waiting_requests += 1
            try:
                vectors = await self._vectors(ids, context, lane)
            finally:
                self.waiting_requests -= 1
            self._usage.add(owner, source, self.name, tokens=tokens, agent=context.agent)
            admitted.done(tokens=tokens)
        return vectors

    async def _vectors(self, ids: list[Ids], context: RequestContext, lane: Lane) -> NDArray[np.float32]:
        with span(f"embeddings {self.name}", self._span_kind) as made:
            if made.recorded:
                tokens = sum(map(len, ids)) + len(ids) * self.engine.tokeniser.special_tokens
                dim = self.engine.fingerprint.dim
                made.set(embeddings(self.name, dim=dim, inputs=len(ids), tokens=tokens))
            return await self.batcher.embed(
                ids, lane=lane, organisation=context.organisation, deadline_s=context.deadline_s
            )

    def _most(self, long: LongInputPolicy) -> int:
        """Return the maximum number of tokens to read of an input, special tokens not counted.

        Raises:
            InvalidInput: ``long.most`` leaves no token for the input, or is above the limit of the model.
        """
        if long.most is None:
            return self.max_content_tokens
        special = self.engine.tokeniser.special_tokens
        if not special < long.most <= self.max_tokens:
            raise InvalidInput(
                f"{long.limit_field} is {long.most:,}; for {self.name} it may be {special + 1} to "
                f"{self.max_tokens:,}, which includes "
                f"its {special} special tokens",
                param=long.limit_field,
            )
        return long.most - special

    def _made(
        self, ids: Sequence[Ids], parts: list[list[Ids]], vectors: NDArray[np.float32], *, averages: bool
    ) -> EmbeddedInputs:
        special = self.engine.tokeniser.special_tokens
        counts = [len(several) for several in parts]
        read = [sum(map(len, several)) for several in parts]
        truncated = [0 if averages else len(one) - tokens for one, tokens in zip(ids, read, strict=True)]
        averages = len(vectors) != len(ids)
        self.batcher.stats.truncated_inputs += sum(map(bool, truncated))
        self.batcher.stats.averaged_inputs += sum(count > 1 for count in counts) if averages else 0
        return EmbeddedInputs(
            vectors=_averaged(vectors, parts) if averages else vectors,
            token_counts=[tokens + count * special for tokens, count in zip(read, counts, strict=True)],
            truncated=truncated,
            parts=counts,
        )


def open_batcher(engine: Engine, settings: Settings, weights: Mapping[str, float] | None = None) -> Batcher:
    """Create the batcher of an engine of this process, and let the engine compute a first batch unless calls
    to the engine cost money. Return the batcher.

    Args:
        weights: for each organisation, its share of the engine's time. The mapping may change at any time.
            None: the setting ``CLUSTER_ORGANISATION_WEIGHTS``.
    """
    batcher = Batcher(
        engine,
        batch_tokens=settings.replica_batch_tokens,
        max_waiting_tokens=settings.max_waiting_tokens,
        cache_bytes=settings.vector_cache_bytes,
        weights=settings.organisation_weights if weights is None else weights,
    )
    if not engine.billed:
        engine.embed(["warm", "up " * 100])  # allocates memory, and fails here if the model does not run
    return batcher


def _refuse_long(ids: Sequence[Ids], most: int, named: InputField) -> None:
    for position, one in enumerate(ids):
        if len(one) > most:
            raise too_long(named, position, len(one), most)


def _cut(ids: Ids, most: int, prefix: int, side: Side) -> Ids:
    if len(ids) <= most:
        return ids
    return ids[:most] if side == "end" else np.concatenate([ids[:prefix], ids[len(ids) - (most - prefix) :]])


def _in_parts(ids: Ids, most: int, prefix: int) -> list[Ids]:
    """Divide an input into about equal parts that the model can read, each with the prompt before it."""
    if len(ids) <= most:
        return [ids]
    prompt, rest = ids[:prefix], ids[prefix:]
    return [np.concatenate([prompt, part]) for part in np.array_split(rest, -(-len(rest) // (most - prefix)))]


def _averaged(vectors: NDArray[np.float32], parts: list[list[Ids]]) -> NDArray[np.float32]:
    """Return for each input the mean of its parts' vectors, weighted by tokens: (n, dim), unit length."""
    weights = np.array([[max(1, len(part))] for several in parts for part in several], dtype=np.float32)
    starts = np.concatenate([[0], np.cumsum([len(several) for several in parts])[:-1]])
    sums: NDArray[np.float32] = np.add.reduceat(vectors * weights, starts, axis=0)
    return unit_length(sums)
