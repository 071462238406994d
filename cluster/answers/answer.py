"""Answer a question: resolve it with the history, find sources, write the prompt, and stream the text of the
chat model. Without a chat model, the answer consists of quoted passages.

    async with aclosing(answer(request, find=find, chat=chat)) as events:
        async for event in events: ...
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from cluster.answers.citations import citations_in
from cluster.answers.contract import (
    AnswerEvent,
    AnswerRequest,
    AnswerRules,
    Citation,
    Done,
    FindChunks,
    Source,
    Sources,
    Text,
)
from cluster.answers.extractive import distinct_sources, passages
from cluster.answers.prompt import is_short, write_prompt
from cluster.answers.questions import question_of, search_question
from cluster.answers.rules import retrieval_options
from cluster.chat import ChatFinishReason, ChatModel, ChatRequest, ChatUsage
from cluster.retrieval import Ranker, RetrievedChunk


async def answer(
    request: AnswerRequest, *, find: FindChunks | None, chat: ChatModel | None
) -> AsyncGenerator[AnswerEvent, None]:
    """Yield the events of the answer. Close the iterator to cancel the request to the chat server.

    If the agent's documents have no source above the threshold, or if there are neither
    documents nor a chat model, the answer is the agent's sentence for this case.

    Args:
        find: searches the agent's stores; None: the agent has no documents, and the chat model answers from
            its instructions alone.
        chat: the agent's chat model; None: the answer quotes the best passages.

    Raises:
        InvalidInput: the last message is not a question, or the prompt is too long.
        ClusterError: the search or the chat server failed. If the error follows a ``Text``, the answer is
            incomplete.
    """
    query = question_of(request.history)
    sources: list[Source] = []
    precomputed = False
    if find is not None:
        query = await search_question(request.history, chat)
        retrieved = await find(query, retrieval_options(request.rules, request.filters))
        precomputed = retrieved.precomputed
        chunks = [chunk for chunk in retrieved.chunks if _is_close(chunk, request.rules)]
        sources = [_source(number, chunk) for number, chunk in enumerate(chunks, start=1)]
    if not sources and (find is not None or chat is None):
        yield Sources(sources=[], query=query, precomputed=precomputed)
        yield Text(text=request.rules.no_answer)
        yield Done(finish_reason="stop", usage=None, citations=[], generated=False)
        return
    events = _quote(sources, query) if chat is None else _generate(request, sources, query, chat)
    async with aclosing(events):
        async for event in events:
            yield replace(event, precomputed=precomputed) if isinstance(event, Sources) else event


async def _generate(
    request: AnswerRequest, sources: Sequence[Source], query: str, chat: ChatModel
) -> AsyncGenerator[AnswerEvent, None]:
    if is_short(request, sources):
        prompt = write_prompt(request, sources, chat)
    else:  # counting the tokens of a long history would block the event loop for milliseconds
        prompt = await asyncio.to_thread(write_prompt, request, sources, chat)
    yield Sources(sources=prompt.sources, query=query)
    temperature = request.rules.temperature if request.temperature is None else request.temperature
    asked = ChatRequest(
        messages=prompt.messages,
        temperature=temperature,
        max_tokens=prompt.max_tokens,
        top_p=request.top_p,
        stop=request.stop,
        seed=request.seed,
        frequency_penalty=request.frequency_penalty,
        presence_penalty=request.presence_penalty,
    )
    text = ""
    reason: ChatFinishReason = "stop"
    usage: ChatUsage | None = None
    async with aclosing(chat.stream(asked)) as deltas:
        async for delta in deltas:
            reason, usage = delta.finish_reason or reason, delta.usage or usage
            if delta.text:
                text += delta.text
                yield Text(text=delta.text)
    yield Done(
        finish_reason=reason,
        usage=usage,
        citations=citations_in(text, prompt.sources) or _uncited(text, prompt.sources),
        generated=True,
    )


def _uncited(text: str, sources: Sequence[Source]) -> list[Citation]:
    """Return a citation of each source at the end of the text, for an answer that cites no source itself."""
    return [Citation(source=source, start=len(text), end=len(text)) for source in sources]


async def _quote(sources: Sequence[Source], query: str) -> AsyncGenerator[AnswerEvent, None]:
    distinct = distinct_sources(sources)
    yield Sources(sources=distinct, query=query)
    citations: list[Citation] = []
    written = 0
    for passage in passages(distinct, query):
        if passage.cited is not None:
            source, start = passage.cited
            begin = written + start
            citations.append(Citation(source=source, start=begin, end=begin + len(f"[{source.number}]")))
        written += len(passage.text)
        yield Text(text=passage.text)
    yield Done(finish_reason="stop", usage=None, citations=citations, generated=False)


def _is_close(chunk: RetrievedChunk, rules: AnswerRules) -> bool:
    """Return False if the ranking is fused and the chunk's similarity is below the threshold.

    With a cross-encoder, the search itself has applied the threshold.

    Scores of fused rankings are made from ranks, so even the best of many wrong chunks has a high score.
    Therefore the cosine similarity is compared in place of a fused score.
    """
    if rules.ranker is not Ranker.FUSED or chunk.similarity is None:
        return True
    return chunk.similarity >= rules.threshold


def _source(number: int, chunk: RetrievedChunk) -> Source:
    return Source(
        number=number,
        file=chunk.file,
        filename=chunk.filename,
        store=chunk.store,
        chunk=chunk.id,
        page=chunk.page,
        start=chunk.start,
        end=chunk.end,
        place=chunk.place,
        quote=chunk.snippet,
        text=chunk.text,
        score=chunk.score,
        attributes=chunk.attributes,
    )
