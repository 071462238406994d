"""Score how well documents answer a query, with the cross-encoder or with vectors of the embedding model.

The routes for reranking and the search route use this module.

    question = RankingQuestion(query="Who may stop the pump?", texts=["...", "..."])
    ranking = await ranked(models, question, context)        # ranking.best == [1, 0]
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from cluster.engines import Reranker, Scored
from cluster.errors import Conflict, InvalidInput, Throttled
from cluster.organisations.caller import current_caller, require_model
from cluster.usage.events import RERANKING
from serve_app.embedding.long_inputs import CUT, InputField, LongInputPolicy
from serve_app.embedding.prompts import model_and_kind, prompt_of
from serve_app.embedding.served_model import RequestContext
from serve_app.embedding.served_models import ServedModels

MAX_DOCUMENTS = 1_000
#: Maximum number of characters of all documents together, with the query counted once for each document. An
#: embedding request may have about as many characters.
MAX_CHARACTERS = 1_200_000
#: Maximum number of requests that wait for the cross-encoder, which computes one request at a time.
MAX_WAITING = 32
REMEDY = "allow to cut it"


@dataclass(frozen=True, kw_only=True, slots=True)
class RankingQuestion:
    """A query and the texts that may answer it."""

    query: str
    texts: Sequence[str]
    #: Name of the request's field with the texts.
    field: str = "documents"
    #: Maximum number of tokens of each text, special tokens not counted; None: as many as the model reads.
    per_document: int | None = None
    #: The rule for texts that are too long.
    long: LongInputPolicy = CUT


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The scores of the texts for a query."""

    scored: Scored
    #: Name of the model that computed the scores.
    model: str
    #: ``cross-encoder`` or ``bi-encoder``.
    method: str
    #: True if the query was longer than the model reads, and was cut.
    query_cut: bool = False

    @cached_property
    def best(self) -> list[int]:
        """Positions of the texts, best first."""
        scores = self.scored.scores
        return sorted(range(len(scores)), key=lambda index: (-scores[index], index))

    @property
    def headers(self) -> dict[str, str]:
        """Response headers that report cut inputs."""
        cut = int(self.scored.truncated.sum()) + self.query_cut
        return {"x-truncated-inputs": str(cut)} if cut else {}


async def ranked(
    models: ServedModels, question: RankingQuestion, context: RequestContext, *, model: str | None = None
) -> Ranking:
    """Rank the texts by how well they answer the query.

    Args:
        models: the served models.
        question: the query and the texts.
        context: the context of the request.
        model: name of the model to use; None: the cross-encoder if there is one, otherwise the default
            embedding model.

    Raises:
        InvalidInput: the texts are too long together, a text is too long and must not be cut, or the model
            cannot cut texts as the request asks.
        ModelNotFound: no such model is served.
        NotPermitted: the caller's key does not allow the model.
        Throttled: too many requests wait already.
    """
    texts = question.texts
    if sum(map(len, texts)) + len(texts) * len(question.query) > MAX_CHARACTERS:
        raise InvalidInput(
            f"{question.field} and query have over {MAX_CHARACTERS:,} characters in all, which is the limit; "
            "send fewer",
            param=question.field,
        )
    reranker = models.reranker
    if reranker is None or model not in (None, reranker.name):
        return await _by_vectors(models, question, context, model or models.default.name)
    most = await _most_of_each(reranker, question)
    scored = await by_cross_encoder(models, question.query, texts, context, most=most)
    return Ranking(scored=scored, model=reranker.name, method="cross-encoder")


async def by_cross_encoder(
    models: ServedModels,
    query: str,
    texts: Sequence[str],
    context: RequestContext,
    *,
    most: int | None = None,
) -> Scored:
    """Score the texts with the cross-encoder, which must be configured.

    Args:
        models: the served models, with the cross-encoder.
        query: the question.
        texts: the texts that may answer the query.
        context: the context of the request.
        most: maximum number of tokens of each text that are read; None: as many as the model reads.

    Raises:
        NotPermitted: the caller's key does not allow the cross-encoder.
        Throttled: too many requests wait for the cross-encoder already.
    """
    assert models.reranker is not None
    name = models.reranker.name
    require_model(name)
    _require_room(models.reranker)
    async with models.admission.admit(
        context.organisation,
        kind=RERANKING,
        model=name,
        tokens=await _most_tokens(models, query, texts, most),
        source=context.source,
        agent=context.agent,
    ) as admitted:
        scored = await asyncio.wrap_future(models.reranker.submit(query, texts, most=most))
        models.usage.add(
            context.organisation,
            context.source,
            name,
            tokens=scored.tokens,
            kind=RERANKING,
            agent=context.agent,
        )
        admitted.done(tokens=scored.tokens)
    return scored


async def cross_encoder_scores(models: ServedModels, query: str, texts: Sequence[str]) -> Scored:
    """Score the texts with the cross-encoder for a job, which records the tokens itself.

    Raises:
        Conflict: this replica has no cross-encoder.
        Throttled: too many requests wait for the cross-encoder already.
    """
    if models.reranker is None:
        raise Conflict("this replica has no cross-encoder; set CLUSTER_RERANKER_PATH on every node")
    _require_room(models.reranker)
    return await asyncio.wrap_future(models.reranker.submit(query, texts))


def _require_room(reranker: Reranker) -> None:
    if reranker.waiting >= MAX_WAITING:
        raise Throttled(f"{reranker.waiting} requests wait for the reranker already", retry_after_s=1.0)


async def _most_tokens(models: ServedModels, query: str, texts: Sequence[str], most: int | None) -> int:
    """Return the maximum number of tokens that the cross-encoder reads of the texts. The texts are tokenised
    for this only if a gate needs the number; otherwise, return 0.
    """
    assert models.reranker is not None
    if not models.admission.concerns(current_caller()):
        return 0
    beside, *pairs = await asyncio.wrap_future(models.reranker.count(query, ["", *texts]))
    longest = models.reranker.max_tokens if most is None else min(models.reranker.max_tokens, beside + most)
    return sum(min(tokens, longest) for tokens in pairs)


async def _most_of_each(reranker: Reranker, question: RankingQuestion) -> int | None:
    """Return the maximum number of tokens to read of each text; None: as many as fit.

    Raises:
        InvalidInput: a text is too long and must not be cut; the request asks to cut the start of a text; or
            the request's limit leaves no tokens for a text or is higher than the limit of the model.
    """
    long, most = question.long, question.per_document
    if long.side == "start":
        raise InvalidInput(f"{reranker.name} cuts a long text at its end only; leave out the side to cut")
    if long.most is None and long.overflow != "error":
        return most
    # The first pair has an empty text, so its count includes only the query and the special tokens.
    beside, *pairs = await asyncio.wrap_future(reranker.count(question.query, ["", *question.texts]))
    if long.most is not None:
        if not beside < long.most <= reranker.max_tokens:
            raise InvalidInput(
                f"{long.limit_field} is {long.most:,}; for this query and {reranker.name} it may be "
                f"{beside + 1:,} to {reranker.max_tokens:,}, "
                f"{beside:,} of them for the query",
                param=long.limit_field,
            )
        most = min(long.most - beside, most or long.most)
    elif most is None or beside + most > reranker.max_tokens:
        for position, tokens in enumerate(pairs):
            if min(tokens, beside + (most or tokens)) > reranker.max_tokens:
                raise InvalidInput(
                    f"{InputField(question.field).name(position)} and the query have {tokens:,} tokens; this "
                    "model reads "
                    f"{reranker.max_tokens:,} of both. Split it, or {REMEDY}",
                    param=question.field,
                )
    return most


async def _by_vectors(
    models: ServedModels, question: RankingQuestion, context: RequestContext, name: str
) -> Ranking:
    model, _ = model_and_kind(models, name)
    prompts = [prompt_of(model, input_type=kind) for kind in ("query", "document")]
    long, special = question.long, model.engine.tokeniser.special_tokens
    of_texts = long
    if question.per_document is not None and question.per_document + special < (
        long.most or model.max_tokens
    ):
        of_texts = replace(long, most=question.per_document + special, overflow="truncate")
    of_query = InputField("query", single=True, remedy=REMEDY)
    of_each = InputField(question.field, remedy=REMEDY)
    query = await model.embed_texts([question.query], context, prompt=prompts[0], long=long, named=of_query)
    texts = await model.embed_texts(question.texts, context, prompt=prompts[1], long=of_texts, named=of_each)
    scored = Scored(
        scores=np.clip(texts.vectors @ query.vectors[0], 0, 1),
        tokens=sum(query.token_counts) + sum(texts.token_counts),
        truncated=np.array(texts.truncated) > 0,
    )
    return Ranking(scored=scored, model=model.name, method="bi-encoder", query_cut=query.truncated[0] > 0)
