"""A search rewrites its queries with the chat model if the request asks for it."""

from cluster.usage.events import CHAT_INPUT, CHAT_OUTPUT, UsageSource
from tests.serve_app.answers.conftest import ChattingServer, NewStore
from tests.simulators.chat_server import ChatFault

HERON, PUMP = "Herons stand still in the pond.", "Only the operator may stop the pump."


def test_a_rewritten_query_is_searched_for_and_shown(chatting: ChattingServer, new_store: NewStore) -> None:
    store = new_store(HERON, PUMP)
    chatting.chat.reply = lambda messages: "who may stop the pump"
    body = {"query": ["that bird, hm, where is it?"], "rewrite_query": True, "max_num_results": 1}
    found = chatting.http.post(f"/v1/vector_stores/{store.id}/search", json=body).json()
    assert found["search_query"] == ["who may stop the pump"]
    assert found["data"][0]["content"][0]["text"] == PUMP
    (call,) = chatting.chat.calls
    assert "that bird, hm, where is it?" in call.body["messages"][-1]["content"]
    plain = chatting.http.post(f"/v1/vector_stores/{store.id}/search", json={"query": "heron"}).json()
    assert plain["search_query"] == ["heron"]
    assert len(chatting.chat.calls) == 1


def test_the_tokens_of_a_rewritten_query_are_usage_of_searches(
    chatting: ChattingServer, new_store: NewStore
) -> None:
    usage, store = chatting.server.service.usage, new_store(HERON)
    added, add = [], usage.add

    def record(*args: object, **named: object) -> None:
        added.append((args[1], named.get("kind")))
        add(*args, **named)  # type: ignore[arg-type]

    usage.add = record  # type: ignore[method-assign, assignment]
    try:
        body = {"query": "heron", "rewrite_query": True}
        chatting.http.post(f"/v1/vector_stores/{store.id}/search", json=body).raise_for_status()
    finally:
        usage.add = add  # type: ignore[method-assign]
    assert {(UsageSource.SEARCH, CHAT_INPUT), (UsageSource.SEARCH, CHAT_OUTPUT)} <= {*added}


def test_a_search_is_refused_if_its_query_cannot_be_rewritten(
    chatting: ChattingServer, new_store: NewStore
) -> None:
    store = new_store(HERON)
    chatting.chat.faults.extend([ChatFault.BROKEN, ChatFault.BROKEN])
    body = {"query": "heron", "rewrite_query": True}
    assert chatting.http.post(f"/v1/vector_stores/{store.id}/search", json=body).status_code == 503
