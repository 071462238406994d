"""The demo's agent answers through a running endpoint."""

from urllib.parse import urlsplit

import pytest
from psycopg_pool import ConnectionPool

from cluster.errors import Unavailable
from cluster.local.agent_demo import AnswerSource, create_agent, stream_answer
from tests.serve_app.answers.conftest import ANSWER, ChattingServer, NewStore
from tests.simulators.chat_server import ChatFault

QUESTION = "Where do swifts sleep?"


def test_the_demos_agent_streams_an_answer_with_its_sources(
    chatting: ChattingServer, new_store: NewStore, pool: ConnectionPool
) -> None:
    store = new_store("Swifts sleep on the wing.")
    settings = chatting.server.service.settings.model_copy(
        update={"api_port": urlsplit(chatting.server.url).port}
    )
    shown: list[str] = []
    agent = create_agent(settings, store.name)
    sources = stream_answer(settings, agent, QUESTION, shown.append)

    assert "".join(shown) == ANSWER
    assert len(shown) > 3
    assert sources == [AnswerSource(number=1, filename="birds.pdf", page=1)]
    chatting.chat.faults.append(ChatFault.ENDS_EARLY)
    with pytest.raises(Unavailable, match="broke off"):
        stream_answer(settings, agent, QUESTION, shown.append)
    with pytest.raises(Unavailable, match="there is no agent 'nobody'"):
        stream_answer(settings, "nobody", QUESTION, shown.append)
