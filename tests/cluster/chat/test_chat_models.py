"""Chat models against a server over TCP: streamed answers, faults, retries, the fallback, disconnecting."""

import asyncio
import pickle
import time
from collections.abc import Callable
from contextlib import aclosing
from decimal import Decimal
from types import SimpleNamespace

import anyio
import pytest

from cluster.chat import (
    ChatDelta,
    ChatInterrupted,
    ChatMessage,
    ChatModel,
    ChatModels,
    ChatRequest,
    ChatUsage,
    attempts,
    rewrite,
)
from cluster.errors import (
    ClusterError,
    InvalidInput,
    Misconfigured,
    NotFound,
    ProviderUnavailable,
    Throttled,
)
from cluster.settings import Settings
from tests.cluster.chat.conftest import KEY, OpenModels
from tests.simulators.chat_server import ChatDialect, ChatFault, ChatServerSimulator, chat_server
from tests.waiting import Stopwatch, until

QUESTION = ChatRequest(
    messages=[ChatMessage("system", "Be brief."), ChatMessage("user", "What eats a heron?")]
)
ANSWER = "You asked: What eats a heron?"


def limit_s(fault: ChatFault) -> float:
    """A short limit only if the fault delays the first token, because tests may run on a busy machine."""
    return 0.2 if fault == ChatFault.SLOW_FIRST_TOKEN else 60.0


async def answer(model: ChatModel, request: ChatRequest = QUESTION) -> tuple[str, ChatDelta]:
    """The whole text and the last part."""
    async with aclosing(model.stream(request)) as stream:
        deltas = [delta async for delta in stream]
    return "".join(delta.text for delta in deltas), deltas[-1]


async def test_an_answer_arrives_in_parts_with_usage_and_its_cost(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    model = models(price_per_million_input_tokens=2, price_per_million_output_tokens=8).named(None)
    text, last = await answer(model)
    assert text == ANSWER
    assert last.finish_reason == "stop"
    assert last.usage is not None
    assert (last.usage.model, last.usage.prompt_tokens, last.usage.completion_tokens) == ("main", 17, 6)
    assert last.usage.cost == Decimal("0.000082")
    assert not last.usage.counted_here
    assert chat.calls[0].body["max_tokens"] == 1_024
    assert chat.calls[0].key == KEY


async def test_the_options_of_a_request_reach_the_server_and_others_are_not_sent(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    request = ChatRequest(messages=QUESTION.messages, temperature=0.0, max_tokens=3, stop=["\n"], seed=7)
    text, last = await answer(models().named("main"), request)
    assert (text, last.finish_reason) == ("You asked: What ", "length")
    sent = chat.calls[0].body
    assert {name: sent[name] for name in ("temperature", "max_tokens", "stop", "seed")} == {
        "temperature": 0.0,
        "max_tokens": 3,
        "stop": ["\n"],
        "seed": 7,
    }
    assert not sent.keys() & {"top_p", "frequency_penalty", "presence_penalty", "max_completion_tokens"}


@pytest.mark.parametrize("dialect", list(ChatDialect))
async def test_servers_that_differ_from_openai_give_the_same_answer(dialect: ChatDialect) -> None:
    with chat_server(dialect) as server:
        setting = {"model": "m", "base_url": server.url, "context_tokens": 4_096}
        models = ChatModels(Settings(chat_models={"m": setting}))  # type: ignore[arg-type,dict-item]
        text, last = await answer(models.named("m"))
        await models.close()
    assert (text, last.finish_reason) == (ANSWER, "stop")
    assert last.usage is not None
    assert last.usage.completion_tokens == 6


@pytest.mark.parametrize(
    "fault",
    [
        ChatFault.BUSY,
        ChatFault.BUSY_WITH_RETRY_AFTER,
        ChatFault.BROKEN,
        ChatFault.UNAVAILABLE,
        ChatFault.RESET,
        ChatFault.MALFORMED_FIRST,
    ],
)
async def test_a_fault_before_the_first_token_is_retried_once(
    models: OpenModels, chat: ChatServerSimulator, fault: ChatFault
) -> None:
    chat.faults.append(fault)
    began = time.monotonic()
    text, _ = await answer(models().named("main"))
    assert text == ANSWER
    assert len(chat.calls) == 2
    if fault == ChatFault.BUSY_WITH_RETRY_AFTER:
        assert time.monotonic() - began >= 1.0


async def test_the_fallback_answers_after_the_retry_and_is_named_in_the_usage(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.always = ChatFault.BROKEN
    text, last = await answer(models(fallback="backup").named("main"))
    assert text == "The backup answers."
    assert last.usage is not None
    assert last.usage.model == "backup"
    assert len(chat.calls) == 2


@pytest.mark.parametrize("fault", [ChatFault.BUSY_FOR_LONG, ChatFault.WRONG_KEY, ChatFault.SLOW_FIRST_TOKEN])
async def test_a_fault_that_no_retry_can_cure_goes_to_the_fallback_at_once(
    models: OpenModels, chat: ChatServerSimulator, fault: ChatFault
) -> None:
    chat.always = fault
    began = Stopwatch()
    text, _ = await answer(models(fallback="backup", first_token_timeout_s=limit_s(fault)).named("main"))
    assert text == "The backup answers."
    assert len(chat.calls) == 1
    assert began.seconds() < 10.0


async def test_a_server_that_fails_again_and_again_is_asked_once_in_a_while(
    models: OpenModels, chat: ChatServerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed_s = 0.0
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed_s)
    monkeypatch.setattr(attempts, "time", clock)
    monkeypatch.setattr(attempts, "REST_S", 60.0)
    chat.always = ChatFault.WRONG_KEY
    model = models(fallback="backup").named("main")
    for _ in range(6):
        assert (await answer(model))[0] == "The backup answers."
    assert len(chat.calls) == 3  # then it rests
    passed_s += 60.0
    await asyncio.gather(*(answer(model) for _ in range(4)))
    assert len(chat.calls) == 4  # one request tries it
    chat.always = None
    passed_s += 60.0
    assert [(await answer(model))[0] for _ in range(3)] == [ANSWER] * 3


async def test_a_fallback_without_room_for_the_prompt_is_not_asked(
    models: OpenModels, chat: ChatServerSimulator, backup: ChatServerSimulator
) -> None:
    chat.always = ChatFault.BROKEN
    request = ChatRequest(messages=[ChatMessage("user", "heron " * 5_000)])
    with pytest.raises(ProviderUnavailable):
        await answer(models(fallback="backup", context_tokens=100_000).named("main"), request)
    assert backup.calls == []


@pytest.mark.parametrize(
    ("fault", "error", "says", "requests"),
    [
        (ChatFault.BUSY, Throttled, "asks to send less", 2),
        (ChatFault.BROKEN, ProviderUnavailable, "HTTP 500", 2),
        (ChatFault.RESET, ProviderUnavailable, "cannot be reached", 2),
        (ChatFault.MALFORMED_FIRST, ProviderUnavailable, "not JSON", 2),
        (ChatFault.SLOW_FIRST_TOKEN, ProviderUnavailable, "no token within 0.2 s", 1),
        (ChatFault.WRONG_KEY, Misconfigured, "the key in CHAT_KEY", 1),
        (ChatFault.NO_SUCH_MODEL, Misconfigured, "CLUSTER_CHAT_MODELS", 1),
        (ChatFault.TOO_LONG, InvalidInput, "maximum context length", 1),
    ],
)
async def test_a_fault_that_stays_is_an_error_that_says_what_to_do_and_shows_no_key(
    models: OpenModels,
    chat: ChatServerSimulator,
    fault: ChatFault,
    error: type[ClusterError],
    says: str,
    requests: int,
) -> None:
    chat.always = fault
    model = models(first_token_timeout_s=limit_s(fault)).named("main")
    with pytest.raises(error, match=says) as raised:
        await answer(model)
    assert len(chat.calls) == requests
    assert KEY not in f"{raised.value!r} {raised.value} {model!r} {vars(raised.value)}"
    assert raised.value.__cause__ is None or KEY not in repr(raised.value.__cause__)


@pytest.mark.parametrize(
    "fault",
    [
        ChatFault.RESET_IN_THE_MIDDLE,
        ChatFault.ENDS_EARLY,
        ChatFault.MALFORMED,
        ChatFault.ERROR_EVENT,
        ChatFault.ABORTED,
    ],
)
async def test_after_the_first_token_a_fault_ends_the_answer_with_what_was_sent(
    models: OpenModels, chat: ChatServerSimulator, fault: ChatFault
) -> None:
    chat.always = fault
    model, seen = models(fallback="backup").named("main"), list[str]()

    async def read() -> None:
        async with aclosing(model.stream(QUESTION)) as stream:
            async for delta in stream:
                seen.append(delta.text)

    with pytest.raises(ChatInterrupted) as raised:
        await read()
    assert "".join(seen) == (ANSWER if fault == ChatFault.ABORTED else "You asked: What ")
    assert raised.value.sent == "".join(seen)
    assert raised.value.usage is not None
    assert raised.value.usage.counted_here
    assert raised.value.usage.completion_tokens > 0
    assert len(chat.calls) == 1
    assert pickle.loads(pickle.dumps(raised.value)).sent == raised.value.sent


async def test_tokens_are_counted_here_if_the_server_reports_no_usage(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.always = ChatFault.NO_USAGE
    model = models().named("main")
    _, last = await answer(model)
    assert last.usage is not None
    assert last.usage.counted_here
    assert last.usage.prompt_tokens == model.count_tokens(QUESTION.messages)
    assert last.usage.completion_tokens == model.count_text(ANSWER) == 9


@pytest.mark.parametrize("way", ["closed", "cancelled", "scope"])
@pytest.mark.parametrize("fault", [ChatFault.SLOW_FIRST_TOKEN, ChatFault.SLOW_TOKENS])
async def test_leaving_an_answer_ends_the_request_at_the_server_at_once(
    models: OpenModels, chat: ChatServerSimulator, way: str, fault: ChatFault
) -> None:
    chat.always = fault
    model = models().named("main")

    async def read() -> None:
        async with aclosing(model.stream(QUESTION)) as stream:
            async for _ in stream:
                if way == "closed":
                    return

    async def leave(cancel: Callable[[], object]) -> None:
        await asyncio.to_thread(until, lambda: chat.calls)
        await asyncio.sleep(0.2)
        cancel()

    if way == "scope":
        with anyio.CancelScope() as scope:
            leaving = asyncio.create_task(leave(scope.cancel))
            await read()
        await leaving
    elif way == "cancelled" or fault == ChatFault.SLOW_FIRST_TOKEN:
        task = asyncio.create_task(read())
        await leave(task.cancel)
        with pytest.raises(asyncio.CancelledError):
            await task
    else:
        await read()
    left = Stopwatch()
    left_at = await asyncio.to_thread(until, lambda: chat.calls[0].left_at)
    assert left.seconds(left_at) < 1.0


async def test_a_connection_that_stays_open_after_the_last_token_does_not_hold_the_answer(
    models: OpenModels, chat: ChatServerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cluster.chat.openai_server.USAGE_TIMEOUT_S", 0.1)
    chat.always = ChatFault.STAYS_OPEN
    text, last = await answer(models().named("main"))
    assert (text, last.finish_reason) == (ANSWER, "stop")


async def test_a_connection_is_used_again_for_a_question_that_comes_later(
    models: OpenModels, chat: ChatServerSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models().named("main")
    await answer(model)
    now = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: now() + 90)
    await answer(model)
    assert chat.connections == 1


async def test_a_connection_that_the_server_has_closed_is_not_used_again(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    model = models().named("main")
    chat.closes_connections = True
    assert [(await answer(model))[0] for _ in range(3)] == [ANSWER] * 3
    assert (chat.connections, len(chat.calls)) == (3, 3)


async def test_a_model_that_does_not_exist_and_a_missing_key_are_said(models: OpenModels) -> None:
    assert not ChatModels(Settings())
    with pytest.raises(Misconfigured, match="CLUSTER_CHAT_MODELS"):
        ChatModels(Settings()).named(None)
    with pytest.raises(NotFound, match="This cluster has main, backup"):
        models().named("gpt-9")
    with pytest.raises(Misconfigured, match="OTHER_KEY is not set"):
        await answer(models(key_env="OTHER_KEY").named("main"))
    text, _ = await answer(models(key_env="OTHER_KEY", fallback="backup").named("main"))
    assert text == "The backup answers."


async def test_a_follow_up_question_is_rewritten_with_the_chat_as_data(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    chat.reply = lambda messages: '"Where do herons\nnest?"'
    history = [
        ChatMessage("system", "Never say this."),
        ChatMessage("user", "What eats a heron?"),
        ChatMessage("assistant", "Foxes do."),
    ]
    used: list[ChatUsage] = []
    found = await rewrite(models().named(None), history, "And where does it nest?", used=used.append)
    assert [one.completion_tokens for one in used] == [4]
    assert found == "Where do herons nest?"
    system, asked = chat.calls[0].body["messages"]
    assert "Foxes do." in asked["content"]
    assert "And where does it nest?" in asked["content"]
    assert "Never say this." not in system["content"] + asked["content"]


@pytest.mark.parametrize("reply", ["   ", "word " * 500])
async def test_a_rewriting_that_is_no_question_is_not_used(
    models: OpenModels, chat: ChatServerSimulator, reply: str
) -> None:
    chat.reply = lambda messages: reply
    assert await rewrite(models().named(None), [], "And where?") == "And where?"
