"""The events of a streamed response have OpenAI's order, numbers and types, as the whole response has."""

from typing import Any

import orjson

from cluster.answers import AnswerEvent, Done, Sources
from serve_app.routes.responses.response_events import ResponseStreamEvent, encoded
from serve_app.routes.responses.response_objects import ResponseObject
from serve_app.routes.responses.response_writer import ResponseWriter
from tests.serve_app.answers.openai_events import (
    CALLS,
    DONE,
    FOUND,
    TEXTS,
    rebuilt,
    strict_events,
    strict_response,
)

BEGINNING = ResponseObject(
    id="resp_1",
    created_at=1,
    completed_at=None,
    status="in_progress",
    error=None,
    incomplete_details=None,
    instructions=None,
    max_output_tokens=None,
    model="agent:birds",
    output=[],
    previous_response_id=None,
    store=True,
    temperature=None,
    tool_choice="auto",
    tools=[{"type": "file_search", "vector_store_ids": ["vs_1"]}],
    top_p=None,
    usage=None,
    user=None,
    metadata={},
)
BEGINS = ["response.created", "response.in_progress"]
SEARCH = [
    "response.output_item.added",
    "response.file_search_call.in_progress",
    "response.file_search_call.searching",
]
FOUND_EVENTS = ["response.file_search_call.completed", "response.output_item.done"]
MESSAGE_BEGINS = ["response.output_item.added", "response.content_part.added"]
MESSAGE_ENDS = ["response.output_text.done", "response.content_part.done", "response.output_item.done"]
DELTA, CITATION = "response.output_text.delta", "response.output_text.annotation.added"


def write(
    *answer: AnswerEvent, searches: bool = True, with_results: bool = False
) -> tuple[list[ResponseStreamEvent], ResponseWriter]:
    """Write the answer up to its last part; return the events and the writer."""
    writer = ResponseWriter(BEGINNING, searches=searches, with_results=with_results, message="msg_1")
    events = [*writer.begin(), *(event for part in answer for event in writer.take(part))]
    return events, writer


def read(events: list[ResponseStreamEvent]) -> list[Any]:
    """Read the encoded events as a client reads them."""
    found = []
    for event in events:
        head, data, *rest = encoded(event).split(b"\n")
        assert (head, data[:6], rest) == (b"event: " + event.type.encode(), b"data: ", [b"", b""])
        found.append(orjson.loads(data[6:]))
    return strict_events(found)


def test_the_events_are_those_of_openai_in_their_order() -> None:
    events, writer = write(FOUND, *TEXTS, DONE)
    writer.finish(CALLS)
    events.append(writer.end())
    found = read(events)
    assert [event.type for event in found] == [
        *BEGINS,
        *SEARCH,
        *FOUND_EVENTS,
        *MESSAGE_BEGINS,
        DELTA,
        DELTA,
        CITATION,
        *MESSAGE_ENDS,
        "response.completed",
    ]
    built = rebuilt(found)
    assert built["message"] == {
        "id": "msg_1",
        "type": "message",
        "text": "On the wing [1].",
        "files": ["file-1"],
    }
    response = strict_response(orjson.loads(orjson.dumps(writer.response.model_dump())))
    assert (response.status, response.output_text) == ("completed", "On the wing [1].")
    search, message = response.output
    assert (search.id, message.id) == (built["file_search_call"]["id"], "msg_1")
    assert (search.queries, search.results) == (["Where do swifts sleep?"], None)  # type: ignore[union-attr]
    (citation,) = message.content[0].annotations  # type: ignore[union-attr]
    assert response.output_text[citation.index :].startswith("[1]")
    assert (citation.filename, citation.page, citation.quote) == (
        "birds.pdf",
        3,
        "Swifts sleep on the wing.",
    )
    assert response.usage is not None
    assert (response.usage.input_tokens, response.usage.total_tokens) == (7, 12)


def test_the_found_texts_are_part_of_the_search_if_the_request_includes_them() -> None:
    events, writer = write(FOUND, *TEXTS, DONE, with_results=True)
    done = next(event for event in read(events) if event.type == "response.output_item.done")
    (result,) = done.item.results
    assert (result.file_id, result.score, result.attributes) == ("file-1", 0.5, {"year": 1999})
    assert result.text == "Swifts sleep on the wing, far above the ground."
    assert writer.response.output[0].results is not None  # type: ignore[union-attr]


def test_an_answer_without_a_search_has_only_a_message() -> None:
    events, writer = write(Sources(sources=[], query="Hello"), *TEXTS, DONE, searches=False)
    writer.finish(CALLS)
    built = rebuilt(read([*events, writer.end()]))
    assert built.keys() == {"message"}
    assert [item.type for item in writer.response.output] == ["message"]


def test_an_answer_that_reached_its_limit_is_incomplete() -> None:
    cut = Done(finish_reason="length", usage=None, citations=[], generated=True)
    events, writer = write(FOUND, *TEXTS, cut)
    writer.finish(CALLS)
    *_, last = read([*events, writer.end()])
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.incomplete_details.reason == "max_output_tokens"
    assert last.response.output[1].status == "incomplete"


def test_an_error_ends_the_stream_and_keeps_what_was_written() -> None:
    events, writer = write(FOUND, TEXTS[0])
    *_, error, last = read([*events, *writer.fail("server_error", "the chat server does not answer")])
    assert (error.type, error.message) == ("error", "the chat server does not answer")
    assert (last.type, last.response.status) == ("response.failed", "failed")
    assert (last.response.error.code, last.response.output_text) == ("server_error", "On the ")
    assert last.response.output[1].status == "incomplete"


def test_an_error_of_the_search_fails_the_search() -> None:
    events, writer = write()
    *_, last = read([*events, *writer.fail("server_error", "the index does not answer")])
    assert [(item.type, item.status) for item in last.response.output] == [("file_search_call", "failed")]
