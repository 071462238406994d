"""An answer without a chat model: misses, quoted passages, follow-up questions."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace

import pytest

from cluster.answers import AnswerEvent, AnswerRequest, AnswerRules, Done, Sources, Text, answer
from cluster.answers.citations import citations_in
from cluster.answers.extractive import LABEL, MAX_PASSAGES
from cluster.chat import ChatMessage
from cluster.errors import InvalidInput
from cluster.retrieval import Ranker, RetrievalOptions, Retrieved, RetrievedChunk
from tests.cluster.answers.test_prompt import source

QUESTION = ChatMessage("user", "Where do swifts sleep?")
RULES = AnswerRules(no_answer="Ask my colleague.", threshold=0.3, max_sources=5)
REQUEST = AnswerRequest(rules=RULES, history=[QUESTION], filters={"type": "eq", "key": "kind", "value": "a"})


def chunk(id: str, text: str, page: int = 1) -> RetrievedChunk:
    return RetrievedChunk(
        id=id,
        store="vs_1",
        file=f"file-{id}",
        filename="birds.pdf",
        text=text,
        score=0.5,
        question=QUESTION.content,
        page=page,
        start=0,
        end=len(text),
        snippet=text,
        keywords=[],
        attributes={},
    )


@dataclass
class Finder:
    """Finds these chunks, whatever the question is."""

    chunks: Sequence[RetrievedChunk]
    asked: list[tuple[str, RetrievalOptions]] = field(default_factory=list)

    async def __call__(self, question: str, options: RetrievalOptions, /) -> Retrieved:
        self.asked.append((question, options))
        return Retrieved(chunks=self.chunks, truncated_questions=0, versions={})


def events_of(request: AnswerRequest, find: Finder | None) -> list[AnswerEvent]:
    async def collect() -> list[AnswerEvent]:
        async with aclosing(answer(request, find=find, chat=None)) as events:
            return [event async for event in events]

    return asyncio.run(collect())


def text_of(events: Sequence[AnswerEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def test_without_a_source_the_agent_says_its_sentence() -> None:
    find = Finder([])
    sources, text, done = events_of(REQUEST, find)

    assert sources == Sources(sources=[], query=QUESTION.content)
    assert text == Text(text="Ask my colleague.")
    assert done == Done(finish_reason="stop", usage=None, citations=[], generated=False)
    ((_, options),) = find.asked
    assert (options.max_chunks, options.filters) == (5, REQUEST.filters)


def test_a_chunk_that_is_not_similar_enough_is_no_source_however_high_its_fused_score_is() -> None:
    found = [
        replace(chunk(id, f"Text {id}"), score=score, similarity=similarity)
        for id, score, similarity in (("a", 1.0, 0.29), ("b", 0.9, 0.31), ("c", 0.8, None))
    ]
    first, *_ = events_of(REQUEST, Finder(found))

    assert isinstance(first, Sources)
    assert [source.chunk for source in first.sources] == ["b", "c"]


def test_a_threshold_of_the_cross_encoder_is_one_of_its_score() -> None:
    find = Finder([replace(chunk("a", "Text"), similarity=0.1)])
    first, *_ = events_of(replace(REQUEST, rules=replace(RULES, ranker=Ranker.CROSS_ENCODER)), find)

    assert isinstance(first, Sources)
    assert len(first.sources) == 1
    ((_, options),) = find.asked
    assert (options.score_threshold, options.ranker) == (0.3, Ranker.CROSS_ENCODER)


def test_without_a_chat_model_the_best_passages_are_quoted_numbered_and_labelled() -> None:
    texts = ["Swifts sleep on the wing [7].", "Herons stand.", "Swifts sleep on the wing [7].", "A", "B"]
    found = [chunk(str(number), text, page=number) for number, text in enumerate(texts, start=1)]
    events = events_of(REQUEST, Finder(found))
    first, done, text = events[0], events[-1], text_of(events)

    assert isinstance(first, Sources)
    assert isinstance(done, Done)
    assert [(one.number, one.file, one.page) for one in first.sources] == [
        (1, "file-1", 1),
        (2, "file-2", 2),
        (3, "file-4", 4),
        (4, "file-5", 5),
    ]
    assert text == (
        f'{LABEL}\n\n"Swifts sleep on the wing [7]." [1] birds.pdf, page 1'
        '\n\n"Herons stand." [2] birds.pdf, page 2\n\n"A" [3] birds.pdf, page 4'
    )
    assert [text[one.start : one.end] for one in done.citations] == ["[1]", "[2]", "[3]"]
    assert [one.source for one in done.citations] == list(first.sources)[:MAX_PASSAGES]
    assert (done.usage, done.generated, done.finish_reason) == (None, False, "stop")


def test_without_a_chat_model_a_follow_up_is_searched_with_the_question_before() -> None:
    history = [
        ChatMessage("user", "How do swifts sleep?"),
        ChatMessage("assistant", "On the wing [1]."),
        ChatMessage("user", "And for how long?"),
    ]
    find = Finder([])
    events_of(replace(REQUEST, history=history), find)

    assert [question for question, _ in find.asked] == ["How do swifts sleep?\nAnd for how long?"]


@pytest.mark.parametrize("history", [[], [ChatMessage("assistant", "Hello")], [ChatMessage("user", " \n")]])
def test_the_last_message_must_be_a_question(history: list[ChatMessage]) -> None:
    with pytest.raises(InvalidInput, match="messages must end with a message of the role user"):
        events_of(replace(REQUEST, history=history), Finder([]))


def test_only_numbers_of_sources_are_citations() -> None:
    text = "Swifts sleep on the wing [2, 1] as [1][9] and [2024] say; not [x], and [2 ]."
    found = citations_in(text, [source(1), source(2)])

    assert [(text[one.start : one.end], one.source.number) for one in found] == [
        ("[2, 1]", 2),
        ("[2, 1]", 1),
        ("[1]", 1),
    ]
