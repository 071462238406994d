"""POST /v1/responses: OpenAI's unmodified client asks, continues and deletes, whole and streamed."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest
from openai import APIStatusError, BadRequestError, NotFoundError
from openai.types.responses import Response

from cluster.answers.extractive import LABEL
from cluster.database import for_organisation
from cluster.errors import NotPermitted
from cluster.organisations.caller import Caller, CallerKind, acting_as
from serve_app.answers import AnswerTarget
from serve_app.embedding.served_model import RequestContext
from serve_app.routes.responses.response_requests import CreateResponseRequest
from serve_app.routes.responses.response_target import response_target
from tests.serve_app.answers.conftest import ANSWER, ChattingServer, NewAgent, NewStore
from tests.serve_app.answers.openai_events import rebuilt, strict_events, strict_response
from tests.simulators.chat_server import ChatFault
from tests.waiting import Stopwatch, until

SWIFT, HERON = "Swifts sleep on the wing and land only to nest.", "Herons stand still before they strike."
QUESTION = "Where do swifts sleep?"


def ask(chatting: ChattingServer, **fields: Any) -> Response:
    """The response, as OpenAI's client reads it."""
    response = chatting.openai.responses.create(**{"input": QUESTION, **fields})
    assert isinstance(response, Response)
    return strict_response(response.to_dict(mode="json"))


def streamed(chatting: ChattingServer, **fields: Any) -> list[Any]:
    """The events of the response, checked strictly."""
    stream = chatting.openai.responses.create(**{"input": QUESTION, "stream": True, **fields})
    return strict_events([event.to_dict(mode="json") for event in stream])


def searching(store: str, **options: Any) -> dict[str, Any]:
    """The fields of a request that searches the store."""
    return {"tools": [{"type": "file_search", "vector_store_ids": [store], **options}]}


def prompt(chatting: ChattingServer, call: int = -1) -> list[tuple[str, str]]:
    """The roles and the texts that the chat server got."""
    return [(one["role"], one["content"]) for one in chatting.chat.calls[call].body["messages"]]


@pytest.fixture
def birds_store(new_store: NewStore) -> str:
    """Id of a store with two texts."""
    return new_store(SWIFT, HERON).id


def test_a_streamed_response_of_an_agent_cites_its_files_and_is_recorded(
    chatting: ChattingServer, new_agent: NewAgent
) -> None:
    agent = new_agent(SWIFT, HERON, instructions="You are Ada.")
    customer = uuid4().hex
    events = streamed(chatting, model=f"agent:{agent.id}", user=customer)
    built, last = rebuilt(events), events[-1]
    assert last.type == "response.completed"
    assert (built["message"]["text"], built["message"]["files"]) == (ANSWER, ["doc-1"])
    search, message = last.response.output
    assert (search.queries, search.status) == ([QUESTION], "completed")
    (citation,) = message.content[0].annotations
    assert ANSWER[citation.index :].startswith("[1]")
    assert (citation.page, citation.quote) == (1, SWIFT)
    assert last.response.usage.output_tokens == 6
    assert prompt(chatting)[0][1].startswith("You are Ada.")
    path = f"/v1/conversations/{last.response.conversation.id}/messages"
    answer, question = chatting.http.get(path).json()["data"]
    assert (question["role"], question["text"]) == ("user", QUESTION)
    assert (answer["id"], answer["text"], answer["agent"]) == (message.id, ANSWER, agent.id)
    feedback = chatting.http.post(f"/v1/messages/{message.id}/feedback", json={"rating": "positive"})
    assert feedback.json()["feedback"] == "positive"


def test_the_helper_of_the_client_gives_the_final_response(
    chatting: ChattingServer, birds_store: str
) -> None:
    with chatting.openai.responses.stream(
        model="small",
        input=QUESTION,
        **searching(birds_store),
    ) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        final = stream.get_final_response()
    assert len(texts) > 1
    assert final.output_text == "".join(texts) == ANSWER


def test_a_chat_model_answers_from_the_stores_of_the_tool(
    chatting: ChattingServer, new_store: NewStore
) -> None:
    tool = searching(
        new_store(SWIFT, HERON).id,
        max_num_results=1,
        filters={"type": "eq", "key": "page", "value": 2},
        ranking_options={"ranker": "auto", "score_threshold": 0.0},
    )
    include = {"include": ["file_search_call.results"]}
    response = ask(chatting, model="small", instructions="Be brief.", **tool, **include)
    search, message = response.output
    (result,) = search.results  # type: ignore[union-attr]
    assert (result.file_id, result.filename, result.text) == ("doc-2", "birds.pdf", HERON)
    assert message.content[0].annotations[0].file_id == "doc-2"  # type: ignore[union-attr]
    assert response.model == "small"
    assert response.tools[0].vector_store_ids == tool["tools"][0]["vector_store_ids"]  # type: ignore[union-attr]
    roles = [role for role, _ in prompt(chatting)]
    assert (roles[-1], "Be brief." in "".join(text for _, text in prompt(chatting))) == ("user", True)
    assert ask(chatting, model="small", tool_choice="none", **tool).output[0].type == "message"


def test_the_stores_of_the_tool_replace_those_of_the_agent(
    chatting: ChattingServer, new_agent: NewAgent, new_store: NewStore
) -> None:
    agent, other = new_agent(SWIFT), new_store(HERON)
    include = {"include": ["file_search_call.results"]}
    search, _ = ask(chatting, model=f"agent:{agent.id}", **searching(other.id), **include).output
    assert [result.text for result in search.results] == [HERON]  # type: ignore[union-attr]


def test_without_a_chat_model_the_best_passages_are_quoted_and_cited(
    chatting: ChattingServer, birds_store: str
) -> None:
    events = streamed(chatting, model="extractive", **searching(birds_store))
    message = rebuilt(events)["message"]
    assert message["text"].startswith(LABEL)
    assert SWIFT in message["text"]
    assert "doc-1" in message["files"]
    response = events[-1].response
    for citation in response.output[1].content[0].annotations:
        assert message["text"][citation.index] == "["
    assert response.usage.total_tokens == 0
    assert chatting.chat.calls == []


def test_nothing_found_is_an_answer_without_citations(chatting: ChattingServer, new_agent: NewAgent) -> None:
    agent = new_agent(SWIFT, retrieval={"threshold": 1.0, "no_answer": "Ask a person."})
    response = ask(chatting, model=f"agent:{agent.id}", input="Who paid the invoice of March?")
    assert (response.output_text, response.status) == ("Ask a person.", "completed")
    assert response.output[1].content[0].annotations == []  # type: ignore[union-attr]


def test_a_response_continues_the_previous_ones(chatting: ChattingServer, birds_store: str) -> None:
    shared = {"model": "small", "tool_choice": "none", **searching(birds_store)}
    first = ask(chatting, instructions="Be brief.", **shared)
    listed = [
        {"role": "developer", "content": "Speak English."},
        {
            "role": "user",
            "content": [{"type": "input_text", "text": "And "}, {"type": "input_text", "text": "herons?"}],
        },
    ]
    second = ask(chatting, input=listed, previous_response_id=first.id, **shared)
    assert second.previous_response_id == first.id
    third = ask(chatting, input="And owls?", previous_response_id=second.id, **shared)
    said = prompt(chatting)
    assert [(role, text) for role, text in said if role != "system"] == [
        ("user", QUESTION),
        ("assistant", ANSWER),
        ("user", "And herons?"),
        ("assistant", ANSWER),
        ("user", "And owls?"),
    ]
    systems = " ".join(text for role, text in said if role == "system")
    assert ("Speak English." in systems, "Be brief." in systems) == (True, False)
    chatting.openai.responses.delete(first.id)
    ask(chatting, input="And gulls?", previous_response_id=third.id, **shared)
    assert QUESTION not in str(prompt(chatting))


def test_the_turns_of_a_chain_are_one_conversation(chatting: ChattingServer, new_agent: NewAgent) -> None:
    model = f"agent:{new_agent(SWIFT).id}"
    first = ask(chatting, model=model)
    second = ask(chatting, model=model, previous_response_id=first.id)
    assert first.conversation is not None
    assert second.conversation == first.conversation
    named = uuid4().hex
    elsewhere = ask(chatting, model=model, metadata={"conversation": named, "place": "shop"})
    assert elsewhere.metadata == {"conversation": named, "place": "shop"}
    (found,) = chatting.http.get("/v1/conversations", params={"external_id": named}).json()["data"]
    assert elsewhere.conversation is not None
    assert found["id"] == elsewhere.conversation.id


def test_a_stored_response_is_read_and_deleted(chatting: ChattingServer, birds_store: str) -> None:
    made = chatting.http.post(
        "/v1/responses", json={"model": "small", "input": QUESTION, **searching(birds_store)}
    ).json()
    assert chatting.http.get(f"/v1/responses/{made['id']}").json() == made
    assert chatting.openai.responses.retrieve(made["id"]).output_text == ANSWER
    path = f"/v1/responses/{made['id']}"
    assert chatting.http.delete(path).json() == {"id": made["id"], "object": "response", "deleted": True}
    with pytest.raises(NotFoundError):
        chatting.openai.responses.retrieve(made["id"])
    with pytest.raises(BadRequestError, match="there is no response") as refused:
        ask(chatting, model="small", previous_response_id=made["id"])
    assert refused.value.param == "previous_response_id"


def test_a_response_that_is_not_stored_leaves_nothing(chatting: ChattingServer, new_agent: NewAgent) -> None:
    agent = new_agent(SWIFT)
    response = ask(chatting, model=f"agent:{agent.id}", store=False)
    assert (response.output_text, response.conversation) == (ANSWER, None)
    with pytest.raises(NotFoundError):
        chatting.openai.responses.retrieve(response.id)
    assert chatting.http.get("/v1/conversations", params={"agent": agent.id}).json()["data"] == []


def test_the_erasure_of_a_customer_deletes_the_responses(chatting: ChattingServer, birds_store: str) -> None:
    external = uuid4().hex
    first = ask(chatting, model="small", user=external, **searching(birds_store))
    second = ask(chatting, model="small", previous_response_id=first.id, **searching(birds_store))
    (customer,) = chatting.http.get("/v1/customers", params={"external_id": external}).json()["data"]
    erased = chatting.http.delete(f"/v1/customers/{customer['id']}").json()
    assert (erased["deleted_rows"]["responses"], erased["remaining_rows"]["responses"]) == (2, 0)
    for response in (first, second):
        with pytest.raises(NotFoundError):
            chatting.openai.responses.retrieve(response.id)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "assistant", "content": "I know."}]}, "input"),
        ({"input": [{"role": "user"}]}, "input"),
        ({"input": "x" * 1_000_001}, "input"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}, "input"),
        ({"model": "extractive"}, "tools"),
        ({"model": "none"}, "model"),
        ({"tools": [{"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "file_search", "vector_store_ids": []}]}, "tools"),
        (searching("vs_1", where={"a": 1}), "tools"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"background": True}, "background"),
        ({"text": {"format": {"type": "json_schema"}}}, "text"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
    ],
)
def test_a_wrong_request_is_refused_with_the_field(
    chatting: ChattingServer, fields: dict[str, Any], param: str
) -> None:
    answer = chatting.http.post("/v1/responses", json={"model": "small", "input": QUESTION, **fields})
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["param"].split("[")[0].split(".")[0] == param
    assert chatting.chat.calls == []


def test_a_key_for_an_agent_searches_no_other_store_with_a_model_that_it_does_not_allow(
    chatting: ChattingServer, new_agent: NewAgent, birds_store: str
) -> None:
    agent, organisation = new_agent(SWIFT), chatting.server.service.settings.organisation
    model = f"agent:{agent.id}"
    key = Caller(kind=CallerKind.KEY, id="key_1", organisation=organisation, models=frozenset({model}))

    def target_of(store: str) -> AnswerTarget:
        body = CreateResponseRequest(model=model, input=QUESTION, **searching(store))
        context = RequestContext(organisation=organisation)
        return asyncio.run(response_target(chatting.server.service, context, body))

    with for_organisation(organisation), acting_as(key):
        assert target_of(agent.stores[0]).stores == agent.stores
        with pytest.raises(NotPermitted, match="model"):
            target_of(birds_store)
    with for_organisation(organisation), acting_as(replace(key, models=None)):
        assert target_of(birds_store).stores == (birds_store,)


def test_an_unknown_store_and_an_unknown_ranker_are_refused_before_the_stream(
    chatting: ChattingServer, birds_store: str
) -> None:
    for status, tool in (
        (404, searching("vs_0")),
        (400, searching(birds_store, ranking_options={"ranker": "best"})),
        (400, searching(birds_store, filters={"type": "near", "key": "a", "value": 1})),
    ):
        with pytest.raises(APIStatusError) as refused:
            streamed(chatting, model="small", **tool)
        assert refused.value.status_code == status


def test_an_error_before_the_first_text_has_its_status_and_a_later_one_is_an_event(
    chatting: ChattingServer, birds_store: str
) -> None:
    tool = searching(birds_store)
    chatting.chat.faults.extend([ChatFault.BROKEN, ChatFault.BROKEN])
    with pytest.raises(APIStatusError) as refused:
        streamed(chatting, model="small", **tool)
    assert refused.value.status_code == 503
    chatting.chat.faults.append(ChatFault.ENDS_EARLY)
    *_, error, last = streamed(chatting, model="small", **tool)
    assert (error.type, last.type) == ("error", "response.failed")
    assert (last.response.error.code, error.code) == ("server_error", "server_error")
    assert ANSWER.startswith(last.response.output_text)
    assert last.response.output[1].status == "incomplete"
    with pytest.raises(NotFoundError):
        chatting.openai.responses.retrieve(last.response.id)


def test_an_answer_at_its_limit_is_incomplete(chatting: ChattingServer, birds_store: str) -> None:
    response = ask(chatting, model="small", max_output_tokens=2, **searching(birds_store))
    assert (response.status, response.completed_at) == ("incomplete", None)
    assert response.incomplete_details is not None
    assert response.incomplete_details.reason == "max_output_tokens"


def test_a_client_that_leaves_cancels_the_request_to_the_chat_server(
    chatting: ChattingServer, birds_store: str
) -> None:
    chatting.chat.faults.append(ChatFault.SLOW_TOKENS)
    body = {"model": "small", "input": QUESTION, "stream": True, **searching(birds_store)}
    with chatting.http.stream("POST", "/v1/responses", json=body) as stream:
        for line in _lines(stream):
            if "output_text.delta" in line:
                break
        left = Stopwatch()
    assert left.seconds(until(lambda: chatting.chat.calls[0].left_at)) < 1.0


def _lines(stream: httpx.Response) -> Iterator[str]:
    yield from stream.iter_lines()
