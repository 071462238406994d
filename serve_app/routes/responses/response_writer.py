"""Turns the events of an answer into the events of a streamed response, and into the whole response.

The route sends the events if the request asks for a stream, and otherwise only ``response``.

    writer = ResponseWriter(response, searches=True, with_results=False, message="msg_...")
    for event in writer.begin(): ...
    for event in writer.take(answer_event): ...
    writer.finish(calls)
    last = writer.end()
"""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar
from uuid import uuid4

from cluster.answers import AnswerEvent, Done, Sources, Text
from cluster.chat import ChatUsage
from serve_app.routes.responses.response_events import (
    AnnotationEvent,
    ContentPartEvent,
    FileSearchCallEvent,
    ItemState,
    OutputItemEvent,
    PartState,
    ResponseState,
    ResponseStateEvent,
    ResponseStreamEvent,
    SearchState,
    StreamErrorEvent,
    TextDeltaEvent,
    TextDoneEvent,
)
from serve_app.routes.responses.response_objects import (
    FileCitationObject,
    FileSearchCallObject,
    FileSearchResultObject,
    IncompleteDetailsObject,
    ItemStatus,
    OutputMessageObject,
    OutputTextObject,
    ResponseErrorObject,
    ResponseObject,
    ResponseUsageObject,
)

Event = TypeVar("Event", bound=ResponseStreamEvent)
IncompleteReason = Literal["max_output_tokens", "content_filter"]
#: Why an answer is incomplete, by the finish reason of the chat server.
INCOMPLETE: dict[str, IncompleteReason] = {
    "length": "max_output_tokens",
    "content_filter": "content_filter",
}


class ResponseWriter:
    """Writes one response.

    Args:
        response: the response as it begins, without output.
        searches: whether the vector stores are searched before the answer.
        with_results: whether the response contains the found texts.
        message: id of the message with the answer.
    """

    def __init__(self, response: ResponseObject, *, searches: bool, with_results: bool, message: str) -> None:
        #: The response as it is now.
        self.response = response
        self._search = f"fs_{uuid4().hex}"
        self._searches = searches
        self._with_results = with_results
        self._message = message
        self._texts: list[str] = []
        self._annotations: list[FileCitationObject] = []
        self._message_began = False
        self._incomplete: IncompleteReason | None = None
        self._number = 0

    @property
    def text(self) -> str:
        """The text of the answer as far as it is written."""
        return "".join(self._texts)

    def begin(self) -> Iterator[ResponseStreamEvent]:
        """Yield the events before the answer: the response begins, and so does the search."""
        yield self._state("response.created", {})
        yield self._state("response.in_progress", {})
        if self._searches:
            yield self._item("response.output_item.added", 0, self._call("in_progress"))
            yield self._search_event("response.file_search_call.in_progress")
            yield self._search_event("response.file_search_call.searching")

    def take(self, event: AnswerEvent) -> Iterator[ResponseStreamEvent]:
        """Yield the events of the next part of the answer."""
        if isinstance(event, Sources):
            yield from self._end_search(event)
            yield from self._begin_message()
        elif isinstance(event, Text):
            self._texts.append(event.text)
            yield self._next(
                partial(TextDeltaEvent, item_id=self._message, output_index=self._place, delta=event.text)
            )
        else:
            yield from self._end_message(event)

    def finish(self, calls: Sequence[ChatUsage]) -> None:
        """Set the usage and the final status of the response. Call this function after the last part of the
        answer, before ``end``.

        Args:
            calls: the usage of each call of a chat model.
        """
        read, wrote = sum(one.prompt_tokens for one in calls), sum(one.completion_tokens for one in calls)
        usage = ResponseUsageObject(input_tokens=read, output_tokens=wrote, total_tokens=read + wrote)
        changes: dict[str, Any] = {"usage": usage, "status": "completed", "completed_at": int(time.time())}
        if self._incomplete is not None:
            details = IncompleteDetailsObject(reason=self._incomplete)
            changes |= {"status": "incomplete", "completed_at": None, "incomplete_details": details}
        self.response = self.response.model_copy(update=changes)

    def end(self) -> ResponseStreamEvent:
        """Return the last event of a response that did not fail."""
        ended = self.response.status == "completed"
        return self._state("response.completed" if ended else "response.incomplete", {})

    def fail(self, code: str, message: str) -> Iterator[ResponseStreamEvent]:
        """Yield the last events of a response that failed. The output keeps what was written.

        Args:
            code: code of the error, such as ``server_error``.
            message: says what went wrong.
        """
        if self._searches and not self._message_began:
            self._put(0, self._call("failed"))
        if self._message_began:
            self._put(self._place, self._output_message("incomplete"))
        yield self._next(partial(StreamErrorEvent, code=code, message=message, param=None))
        error = ResponseErrorObject(code=code, message=message)
        failed = {"status": "failed", "error": error, "completed_at": None}
        yield self._state("response.failed", failed)

    @property
    def _place(self) -> int:
        return int(self._searches)

    def _end_search(self, found: Sources) -> Iterator[ResponseStreamEvent]:
        if not self._searches:
            return
        results = None
        if self._with_results:
            results = [FileSearchResultObject.of(source) for source in found.sources]
        call = self._call("completed", queries=[found.query], results=results)
        self._put(0, call)
        yield self._search_event("response.file_search_call.completed")
        yield self._item("response.output_item.done", 0, call)

    def _begin_message(self) -> Iterator[ResponseStreamEvent]:
        self._message_began = True
        empty = self._output_message("in_progress").model_copy(update={"content": []})
        yield self._item("response.output_item.added", self._place, empty)
        yield self._part("response.content_part.added")

    def _end_message(self, done: Done) -> Iterator[ResponseStreamEvent]:
        self._incomplete = INCOMPLETE.get(done.finish_reason)
        for index, citation in enumerate(done.citations):
            annotation = FileCitationObject.of(citation)
            self._annotations.append(annotation)
            yield self._next(
                partial(
                    AnnotationEvent,
                    item_id=self._message,
                    output_index=self._place,
                    annotation_index=index,
                    annotation=annotation,
                )
            )
        yield self._next(
            partial(TextDoneEvent, item_id=self._message, output_index=self._place, text=self.text)
        )
        yield self._part("response.content_part.done")
        item = self._output_message("completed" if self._incomplete is None else "incomplete")
        self._put(self._place, item)
        yield self._item("response.output_item.done", self._place, item)

    def _put(self, place: int, item: FileSearchCallObject | OutputMessageObject) -> None:
        output = [*self.response.output[:place], item]
        self.response = self.response.model_copy(update={"output": output})

    def _call(
        self,
        status: Literal["in_progress", "completed", "failed"],
        *,
        queries: list[str] | None = None,
        results: list[FileSearchResultObject] | None = None,
    ) -> FileSearchCallObject:
        return FileSearchCallObject(id=self._search, status=status, queries=queries or [], results=results)

    def _output_text(self) -> OutputTextObject:
        return OutputTextObject(text=self.text, annotations=list(self._annotations))

    def _output_message(self, status: ItemStatus) -> OutputMessageObject:
        return OutputMessageObject(id=self._message, status=status, content=[self._output_text()])

    def _next(self, make: Callable[..., Event]) -> Event:
        event = make(sequence_number=self._number)
        self._number += 1
        return event

    def _state(self, type: ResponseState, changes: dict[str, Any]) -> ResponseStateEvent:
        self.response = self.response.model_copy(update=changes)
        return self._next(partial(ResponseStateEvent, type=type, response=self.response))

    def _item(
        self, type: ItemState, place: int, item: FileSearchCallObject | OutputMessageObject
    ) -> OutputItemEvent:
        return self._next(partial(OutputItemEvent, type=type, output_index=place, item=item))

    def _search_event(self, type: SearchState) -> FileSearchCallEvent:
        return self._next(partial(FileSearchCallEvent, type=type, output_index=0, item_id=self._search))

    def _part(self, type: PartState) -> ContentPartEvent:
        return self._next(
            partial(
                ContentPartEvent,
                type=type,
                item_id=self._message,
                output_index=self._place,
                part=self._output_text(),
            )
        )
