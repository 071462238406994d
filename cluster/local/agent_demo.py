"""Creates an agent that knows a vector store, and asks the agent a question for the demo.

name = create_agent(settings, "handbook")
sources = stream_answer(settings, name, "How do I back up the data?", print)
"""

import http.client
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from cluster.agents import AgentDefinition, save_agent
from cluster.answers.answer_events import answer_events
from cluster.database import in_one_transaction
from cluster.documents.vector_stores.stores import find_store
from cluster.errors import Unavailable
from cluster.local.addresses import reachable
from cluster.settings import Settings

#: Name of the agent that the demo creates, and replaces when it runs again.
AGENT = "demo"
#: Maximum seconds between two parts of the answer.
ANSWER_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerSource:
    """A source of the answer."""

    number: int
    filename: str
    #: Page number, from 1; None if the document has no pages.
    page: int | None


def create_agent(settings: Settings, store: str) -> str:
    """Create the agent ``AGENT``, which knows the vector store with this name. Return the agent's name.

    Raises:
        NotFound: there is no such store.
    """

    def create(connection: Connection[Any]) -> None:
        id = find_store(connection, settings.organisation, store).id
        given = {"external_id": AGENT, "knowledge": [{"vector_store_id": id}]}
        definition = AgentDefinition.model_validate(given)
        save_agent(connection, settings.organisation, definition, knowledge={})

    in_one_transaction(settings, create)
    return AGENT


def stream_answer(
    settings: Settings, agent: str, question: str, show: Callable[[str], None]
) -> Sequence[AnswerSource]:
    """Ask the agent through the HTTP endpoint, and pass each part of the answer to ``show`` as it arrives.
    Return the sources of the answer.

    Raises:
        Unavailable: the endpoint did not answer, or the answer broke off.
    """
    sources: list[AnswerSource] = []
    for chunk in _chunks(settings, agent, question):
        for one in chunk.get("sources", ()):
            sources.append(AnswerSource(number=one["number"], filename=one["filename"], page=one["page"]))
        for choice in chunk["choices"]:
            show(choice["delta"].get("content", ""))
    return sources


def _chunks(settings: Settings, agent: str, question: str) -> Iterator[dict[str, Any]]:
    """Ask the agent, and yield the chunks of its answer."""
    headers = {"Content-Type": "application/json"}
    if settings.api_key is not None:
        headers["Authorization"] = f"Bearer {settings.api_key.get_secret_value()}"
    body = {
        "model": f"agent:{agent}",
        "messages": [{"role": "user", "content": question}],
        "stream": True,
        "store": False,
    }
    connection = http.client.HTTPConnection(
        reachable(settings.api_host), settings.api_port, timeout=ANSWER_TIMEOUT_S
    )
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            text = response.read().decode("utf-8", "replace")
            raise Unavailable(f"the agent {agent!r} did not answer: {response.status} {text}")
        yield from answer_events(response)
    except (OSError, http.client.HTTPException) as exc:
        raise Unavailable(f"the agent {agent!r} did not answer: {exc}") from exc
    finally:
        connection.close()
