"""POST /v1/chat/completions: an agent answers OpenAI's unmodified client, with sources and usage."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from openai import APIError, APIStatusError, NotFoundError, RateLimitError
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from psycopg_pool import ConnectionPool

from cluster.answers.extractive import LABEL
from serve_app.chat.answer_stats import MAX_RUNNING
from tests.serve_app.answers.conftest import ANSWER, ChattingServer, NewAgent
from tests.serve_app.raw_requests import connect
from tests.serve_app.usage.test_usage_recorder import assert_soon
from tests.simulators.chat_server import ChatFault
from tests.waiting import Stopwatch, until

SWIFT, HERON = "Swifts sleep on the wing and land only to nest.", "Herons stand still before they strike."
QUESTION = [{"role": "user", "content": "Where do swifts sleep?"}]


def ask(chatting: ChattingServer, agent: str, **fields: Any) -> ChatCompletion:
    """The whole answer of the agent."""
    return chatting.openai.chat.completions.create(
        **{"model": f"agent:{agent}", "messages": QUESTION, **fields}
    )


def chunks(chatting: ChattingServer, agent: str, **fields: Any) -> Sequence[ChatCompletionChunk]:
    """The chunks of the agent's answer."""
    return list(
        chatting.openai.chat.completions.create(
            **{"model": f"agent:{agent}", "messages": QUESTION, "stream": True, **fields}
        )
    )


def messages_of(chatting: ChattingServer, conversation: str) -> list[dict[str, Any]]:
    """The stored messages of a conversation, oldest first, as soon as one is stored."""
    (found,) = until(
        lambda: chatting.http.get("/v1/conversations", params={"external_id": conversation}).json()["data"]
    )
    listed = chatting.http.get(f"/v1/conversations/{found['id']}/messages", params={"order": "asc"})
    return [{**message, "customer": found["customer"]} for message in listed.json()["data"]]


def test_a_streamed_answer_has_sources_first_citations_last_and_usage_at_the_end(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT, HERON, instructions="You are Ada.")
    first, *texts, last, usage = chunks(
        chatting, agent.definition.external_id, stream_options={"include_usage": True}
    )

    assert first.choices[0].delta.role == "assistant"
    sources = first.model_extra["sources"]  # type: ignore[index]
    assert [source["number"] for source in sources] == [1, 2]
    assert (sources[0]["filename"], sources[0]["page"], sources[0]["quote"]) == ("birds.pdf", 1, SWIFT)
    assert sources[0]["vector_store_id"] == agent.stores[0]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in texts) == ANSWER
    assert len(texts) > 1
    assert last.choices[0].finish_reason == "stop"
    (annotation,) = last.model_extra["annotations"]  # type: ignore[index]
    citation = annotation["file_citation"]
    assert annotation["type"] == "file_citation"
    assert (citation["file_id"], citation["filename"], citation["quote"]) == ("doc-1", "birds.pdf", SWIFT)
    assert (citation["page"], citation["start"], citation["end"]) == (1, 0, len(SWIFT))
    assert ANSWER[citation["start_index"] : citation["end_index"]] == "[1]"
    assert usage.choices == []
    assert usage.usage is not None
    assert usage.usage.completion_tokens == 6
    assert usage.usage.total_tokens == usage.usage.prompt_tokens + 6
    assert {chunk.id for chunk in [first, *texts, last, usage]} == {first.id}
    assert chatting.chat.calls[0].body["messages"][0]["content"].startswith("You are Ada.")


def test_a_whole_answer_says_the_same_as_the_stream(chatting: ChattingServer, new_agent: NewAgent) -> None:
    agent = new_agent(SWIFT, HERON)
    answer = ask(chatting, agent.id)
    (choice,) = answer.choices
    extra = answer.model_extra or {}

    assert (choice.message.content, choice.finish_reason, answer.object) == (
        ANSWER,
        "stop",
        "chat.completion",
    )
    assert [source["number"] for source in extra["sources"]] == [1, 2]
    assert [one["file_citation"]["number"] for one in extra["annotations"]] == [1]
    assert extra["generated"] is True
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 6
    assert answer.model == f"agent:{agent.id}"


def test_the_question_and_the_answer_are_stored_for_analytics(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT)
    fields = {"user": "customer-7", "metadata": {"conversation": f"talk-{agent.id}"}}
    answer = ask(chatting, agent.id, **fields)
    question, stored = messages_of(chatting, f"talk-{agent.id}")

    assert (question["role"], question["text"]) == ("user", "Where do swifts sleep?")
    assert (stored["role"], stored["text"], stored["agent"]) == ("assistant", ANSWER, agent.id)
    assert stored["id"] == (answer.model_extra or {})["message_id"]
    assert (stored["model"], stored["retrieval_hit"], stored["error_class"]) == ("small", True, None)
    assert answer.usage is not None
    assert (stored["input_tokens"], stored["output_tokens"]) == (answer.usage.prompt_tokens, 6)
    price = (2 * answer.usage.prompt_tokens + 8 * 6) / 1_000_000
    assert float(stored["cost"]) == pytest.approx(price)
    assert 0 <= stored["time_to_first_token_ms"] <= stored["latency_ms"]
    assert [source["quote"] for source in stored["sources"]] == [SWIFT]
    (customer,) = chatting.http.get("/v1/customers", params={"external_id": "customer-7"}).json()["data"]
    assert question["customer"] == customer["id"]


@pytest.mark.parametrize("by_request", [True, False])
def test_an_answer_is_not_stored_if_the_agent_or_the_request_says_so(
    chatting: ChattingServer, new_agent: NewAgent, by_request: bool
) -> None:
    agent = new_agent(SWIFT, record_conversations=by_request)
    answer = ask(
        chatting, agent.id, metadata={"conversation": agent.id}, **({"store": False} if by_request else {})
    )

    assert chatting.http.get("/v1/conversations", params={"external_id": agent.id}).json()["data"] == []
    assert not {"message_id", "conversation"} & (answer.model_extra or {}).keys()


def test_the_tokens_of_both_models_are_usage_of_the_agent_with_the_price_of_the_chat_model(
    chatting: ChattingServer, new_agent: NewAgent, pool: ConnectionPool
) -> None:
    agent = new_agent(SWIFT)
    answer = ask(chatting, agent.id)
    assert answer.usage is not None
    prompt = answer.usage.prompt_tokens

    def recorded() -> dict[tuple[str, str, str], tuple[int, float | None]]:
        with pool.connection() as connection:
            rows = connection.execute(
                "SELECT kind, source, model, quantity, cost FROM usage_events WHERE agent = %s", [agent.id]
            ).fetchall()
        return {(row[0], row[1], row[2]): (row[3], None if row[4] is None else float(row[4])) for row in rows}

    model = chatting.server.service.models.default.name
    assert_soon(lambda: len(recorded()), 4)
    found = recorded()
    assert found["chat_input", "chat", "small"] == (prompt, pytest.approx(prompt * 2e-6))
    assert found["chat_output", "chat", "small"] == (6, pytest.approx(48e-6))
    assert found["embedding", "chat", model][0] > 0
    assert found["request", "chat", model][0] == 1


def test_a_budget_of_the_agent_refuses_an_answer_that_could_exceed_it(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent, other = new_agent(SWIFT), new_agent(SWIFT)
    budget = {"unit": "tokens", "period": "day", "stop_at": 150, "agent": agent.id}
    created = chatting.http.post("/v1/budgets", json=budget)
    assert created.status_code == 200
    service = chatting.server.service
    assert_soon(lambda: service.keys.has_stops(service.settings.organisation), True)
    try:
        with pytest.raises(RateLimitError, match="of this agent allows 150 tokens a day"):
            ask(chatting, agent.id)
        assert ask(chatting, other.id).choices[0].message.content == ANSWER
    finally:
        chatting.http.delete(f"/v1/budgets/{created.json()['id']}")


def test_nothing_found_is_said_in_the_agents_words_and_counted(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT, retrieval={"no_answer": "Ask my colleague."})
    counted = chatting.server.service.answer_stats.answered["nothing_found"]
    nothing = {"type": "eq", "key": "kind", "value": "none"}
    conversation = {"metadata": {"conversation": agent.id}}
    answer = ask(chatting, agent.id, extra_body={"filters": nothing}, **conversation)

    assert answer.choices[0].message.content == "Ask my colleague."
    assert answer.choices[0].finish_reason == "stop"
    assert chatting.chat.calls == []
    assert chatting.server.service.answer_stats.answered["nothing_found"] == counted + 1
    assert [message["retrieval_hit"] for message in messages_of(chatting, agent.id)] == [None, False]


def test_an_error_before_the_first_token_has_its_status(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    chatting.chat.faults.extend([ChatFault.UNAVAILABLE] * 2)
    agent = new_agent(SWIFT)
    with pytest.raises(APIStatusError) as refused:
        chunks(chatting, agent.id)

    assert refused.value.status_code == 503


def test_an_error_in_the_middle_is_an_event_and_ends_the_stream(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT)
    body = {"model": f"agent:{agent.id}", "messages": QUESTION, "stream": True}
    conversation = {"metadata": {"conversation": agent.id}}
    chatting.chat.token_s = 0.05  # the first half has arrived when the connection is reset
    chatting.chat.faults.append(ChatFault.RESET_IN_THE_MIDDLE)
    with pytest.raises(APIError, match="the chat model small broke off"):
        chunks(chatting, agent.id)
    chatting.chat.faults.append(ChatFault.RESET_IN_THE_MIDDLE)
    events = chatting.http.post("/v1/chat/completions", json={**body, **conversation}).text.split("\n\n")

    assert json.loads(events[-2].removeprefix("data: "))["error"]["code"] == "unavailable"
    assert events[-1] == ""
    assert "[DONE]" not in events
    _, stored = messages_of(chatting, agent.id)
    assert (stored["error_class"], stored["text"]) == ("ChatInterrupted", "Swifts sleep on ")
    assert stored["output_tokens"] > 0


def test_a_client_that_leaves_ends_the_request_to_the_chat_server_within_a_second(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT)
    chatting.chat.faults.append(ChatFault.SLOW_TOKENS)
    body = {
        "model": f"agent:{agent.id}",
        "messages": QUESTION,
        "stream": True,
        "metadata": {"conversation": agent.id},
    }
    with chatting.http.stream("POST", "/v1/chat/completions", json=body) as response:
        next(response.iter_lines())
    left = Stopwatch()

    assert left.seconds(until(lambda: chatting.chat.calls[0].left_at)) < 1
    assert_soon(lambda: [one["error_class"] for one in messages_of(chatting, agent.id)], [None, "ClientLeft"])


def test_a_client_that_leaves_before_the_first_token_ends_the_request_too(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT)
    chatting.chat.faults.append(ChatFault.SLOW_FIRST_TOKEN)
    body = json.dumps({"model": f"agent:{agent.id}", "messages": QUESTION})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    with connect(chatting.server) as connection:
        connection.sendall((head + body).encode())
        until(lambda: chatting.chat.calls)
    assert_soon(lambda: [call.left_at is not None for call in chatting.chat.calls], [True])


def test_a_conversation_continues_with_its_history(chatting: ChattingServer, new_agent: NewAgent) -> None:
    agent = new_agent(SWIFT)
    replies = iter(["Where do swifts sleep at night?", ANSWER])
    chatting.chat.reply = lambda messages: next(replies)
    history = [
        {"role": "developer", "content": "Answer in French."},
        *QUESTION,
        {"role": "assistant", "content": [{"type": "text", "text": "On the wing."}]},
        {"role": "user", "content": "And at night?"},
    ]
    answer = ask(chatting, agent.id, messages=history)
    sent = chatting.chat.calls[1].body["messages"]

    assert answer.choices[0].message.content == ANSWER
    assert "Answer in French." in sent[0]["content"]
    assert [one["content"] for one in sent[1:3]] == ["Where do swifts sleep?", "On the wing."]
    assert sent[3]["content"].endswith("Question: And at night?")
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 12


def test_a_chat_model_answers_without_documents(chatting: ChattingServer) -> None:
    answer = chatting.openai.chat.completions.create(model="small", messages=QUESTION)  # type: ignore[arg-type]

    assert answer.choices[0].message.content == ANSWER
    assert [one["content"] for one in chatting.chat.calls[0].body["messages"]] == ["Where do swifts sleep?"]
    assert (answer.model_extra or {})["sources"] == []


@pytest.mark.parametrize("model", ["agent:nobody", "agent:", "no-such-model"])
def test_an_unknown_agent_is_not_found(chatting: ChattingServer, model: str) -> None:
    with pytest.raises(NotFoundError) as refused:
        chatting.openai.chat.completions.create(model=model, messages=QUESTION)  # type: ignore[arg-type]

    assert refused.value.code == "model_not_found"
    assert refused.value.param == "model"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "1"}, *QUESTION]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
        ),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"n": 2}, "n"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "word " * 5_000}]}, "messages"),
    ],
)
def test_a_wrong_field_is_named(
    chatting: ChattingServer, new_agent: NewAgent, fields: dict[str, Any], param: str
) -> None:
    body = {"model": f"agent:{new_agent(SWIFT).id}", "messages": QUESTION, **fields}
    answer = chatting.http.post("/v1/chat/completions", json=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


def test_without_a_chat_model_passages_are_streamed_in_the_same_shape(
    chatting: ChattingServer, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chatting.server.service.chat, "_models", {})
    agent = new_agent(SWIFT, HERON)
    first, *texts, last, usage = chunks(chatting, agent.id, stream_options={"include_usage": True})
    text = "".join(chunk.choices[0].delta.content or "" for chunk in texts)

    assert text.startswith(f'{LABEL}\n\n"{SWIFT}" [1] birds.pdf, page 1\n\n')
    assert [source["number"] for source in (first.model_extra or {})["sources"]] == [1, 2]
    extra = last.model_extra or {}
    assert [one["file_citation"]["number"] for one in extra["annotations"]] == [1, 2]
    assert extra["generated"] is False
    assert usage.usage is not None
    assert usage.usage.total_tokens == 0
    assert chatting.chat.calls == []


def test_a_replica_with_many_answers_refuses_more_and_stays_free_for_searches(
    chatting: ChattingServer, new_agent: NewAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent, stats = new_agent(SWIFT), chatting.server.service.answer_stats
    monkeypatch.setattr(stats, "running", MAX_RUNNING)
    with pytest.raises(RateLimitError, match="this replica writes 192 answers") as refused:
        ask(chatting, agent.id)
    search = chatting.http.post(f"/v1/vector_stores/{agent.stores[0]}/search", json={"query": "swifts"})

    assert refused.value.response.headers["retry-after"] == "1"
    assert search.status_code == 200
    monkeypatch.setattr(stats, "running", 0)
    ask(chatting, agent.id)
    assert stats.running == 0
