"""Each request to a chat server is a span, and the server can continue its trace."""

import pytest

from cluster.errors import ClusterError
from cluster.settings import Settings
from cluster.tracing import SERVER, TraceContext, continued_trace
from tests.cluster.chat.conftest import OpenModels
from tests.cluster.chat.test_chat_models import ANSWER, answer
from tests.cluster.tracing.collector import traced
from tests.simulators.chat_server import ChatFault, ChatServerSimulator

PARENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)


async def test_an_answer_is_a_span_with_the_attributes_of_the_conventions(
    models: OpenModels, chat: ChatServerSimulator, settings: Settings
) -> None:
    with traced(settings) as collector:
        with continued_trace("POST", SERVER, PARENT):
            assert (await answer(models().named("main")))[0] == ANSWER
        found = collector.until(lambda found: len(found) == 2, trace=PARENT.trace_id)

    call = next(one for one in found if one.name == "chat main")
    assert (call.kind, call.failed) == ("CLIENT", False)
    assert chat.calls[0].traceparent == f"00-{PARENT.trace_id}-{call.id}-01"
    assert call.attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "m-1",
        "gen_ai.request.max_tokens": 1_024,
        "gen_ai.response.finish_reasons": ["stop"],
        "gen_ai.usage.input_tokens": 17,
        "gen_ai.usage.output_tokens": 6,
        "server.address": "127.0.0.1",
    }


async def test_a_failed_request_is_a_failed_span_without_the_text_of_the_error(
    models: OpenModels, chat: ChatServerSimulator, settings: Settings
) -> None:
    chat.faults.append(ChatFault.WRONG_KEY)
    with traced(settings) as collector:
        with continued_trace("POST", SERVER, PARENT), pytest.raises(ClusterError):
            await answer(models().named("main"))
        found = collector.until(lambda found: len(found) == 2, trace=PARENT.trace_id)

    call = next(one for one in found if one.name == "chat main")
    assert (call.failed, call.attributes["error.type"]) == (True, "Misconfigured")
    assert "sk-" not in str(found)


async def test_without_tracing_the_server_gets_no_header(
    models: OpenModels, chat: ChatServerSimulator
) -> None:
    await answer(models().named("main"))
    assert chat.calls[0].traceparent is None
