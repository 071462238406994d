"""An answer of a chat model behind TCP: its prompt, its text in parts, its citations, its end."""

import asyncio
from contextlib import aclosing
from dataclasses import replace

import pytest

from cluster.answers import AnswerEvent, AnswerRequest, AnswerRules, Done, Sources, Text, answer
from cluster.chat import ChatInterrupted, ChatMessage, ChatModel
from tests.cluster.answers.test_answer import Finder, chunk, text_of
from tests.cluster.chat.conftest import OpenModels, backup, chat, models
from tests.simulators.chat_server import ChatFault, ChatServerSimulator
from tests.waiting import Stopwatch, until

__all__ = ["backup", "chat", "models"]

QUESTION = ChatMessage("user", "Where do swifts sleep?")
REQUEST = AnswerRequest(rules=AnswerRules(instructions="You are Ada.", temperature=0.2), history=[QUESTION])
FOUND = Finder([chunk("a", "Swifts sleep on the wing."), chunk("b", "Herons stand still.")])


async def events_of(
    model: ChatModel | None, request: AnswerRequest = REQUEST, find: Finder | None = FOUND
) -> list[AnswerEvent]:
    async with aclosing(answer(request, find=find, chat=model)) as events:
        return [event async for event in events]


async def test_the_model_reads_the_sources_and_its_citations_name_them(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.reply = lambda messages: "They sleep on the wing [1], not standing [2][3]."
    request = replace(REQUEST, max_tokens=50, stop=("STOP",), top_p=0.9)
    first, *parts, done = await events_of(models().named(None), request)

    assert isinstance(first, Sources)
    assert [source.chunk for source in first.sources] == ["a", "b"]
    assert len(parts) > 1
    assert text_of(parts) == "They sleep on the wing [1], not standing [2][3]."
    assert isinstance(done, Done)
    assert [(one.source.chunk, one.start) for one in done.citations] == [("a", 23), ("b", 41)]
    assert done.generated
    assert done.finish_reason == "stop"
    assert done.usage is not None
    assert done.usage.model == "main"
    (sent,) = (call.body for call in chat.calls)
    assert [message["role"] for message in sent["messages"]] == ["system", "user"]
    assert sent["messages"][0]["content"].startswith("You are Ada.")
    assert "Swifts sleep on the wing." in sent["messages"][1]["content"]
    assert {name: sent[name] for name in ("temperature", "max_tokens", "stop", "top_p")} == {
        "temperature": 0.2,
        "max_tokens": 50,
        "stop": ["STOP"],
        "top_p": 0.9,
    }


async def test_a_follow_up_question_is_rewritten_before_the_search(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.reply = lambda messages: "How long do swifts sleep?"
    find = Finder([chunk("a", "Swifts sleep for seconds.")])
    history = [QUESTION, ChatMessage("assistant", "On the wing [1]."), ChatMessage("user", "And how long?")]
    first, *_ = await events_of(models().named(None), replace(REQUEST, history=history), find)

    assert [question for question, _ in find.asked] == ["How long do swifts sleep?"]
    assert isinstance(first, Sources)
    assert first.query == "How long do swifts sleep?"
    asked = chat.calls[1].body["messages"]
    assert [message["content"] for message in asked[1:3]] == ["Where do swifts sleep?", "On the wing [1]."]
    assert asked[3]["content"].endswith("Question: And how long?")


async def test_without_a_source_the_model_is_not_asked(models: OpenModels, chat: ChatServerSimulator) -> None:
    events = await events_of(models().named(None), find=Finder([]))

    assert text_of(events) == REQUEST.rules.no_answer
    assert chat.calls == []


async def test_an_agent_without_documents_answers_from_its_instructions(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.reply = lambda messages: "Hello [1]."
    events = await events_of(models().named(None), find=None)

    assert text_of(events) == "Hello [1]."
    assert isinstance(events[-1], Done)
    assert events[-1].citations == []
    assert [message["content"] for message in chat.calls[0].body["messages"]] == [
        "You are Ada.",
        QUESTION.content,
    ]


async def test_an_answer_that_breaks_off_raises_after_the_text_that_arrived(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.faults.append(ChatFault.RESET_IN_THE_MIDDLE)
    chat.reply = lambda messages: "They sleep on the wing."
    seen: list[AnswerEvent] = []

    async def read() -> None:
        async with aclosing(answer(REQUEST, find=FOUND, chat=models().named(None))) as events:
            async for event in events:
                seen.append(event)

    with pytest.raises(ChatInterrupted):
        await read()
    assert text_of(seen) == "They sleep "


async def test_the_request_to_the_chat_server_ends_when_the_answer_is_closed(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.faults.append(ChatFault.SLOW_TOKENS)
    async with aclosing(answer(REQUEST, find=FOUND, chat=models().named(None))) as events:
        async for event in events:
            if isinstance(event, Text):
                break
    closed = Stopwatch()
    left_at = await asyncio.to_thread(until, lambda: chat.calls[0].left_at)

    assert closed.seconds(left_at) < 0.5
