"""POST and DELETE /v1/messages/{id}/feedback, and GET /v1/feedback.

OpenAI's API has no such routes, so this project defines them. Analytics count the feedback, and
``python -m data_jobs.export_feedback`` makes golden questions of it.
"""

from typing import Annotated, Any, Literal, Self

from fastapi import Query, Response
from pydantic import Field

from cluster.platform_data.feedback import FeedbackRating, RatedAnswer, give_feedback, list_feedback
from serve_app.edge.authentication import Organisation
from serve_app.edge.idempotency import Once
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import RequestModel, Text
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep
from serve_app.routes.files import unix
from serve_app.routes.platform_data.platform_objects import MessageObject

router = json_router(404)

MAX_COMMENT_CHARACTERS = 4_000


class FeedbackRequest(RequestModel):
    """Feedback on an answer."""

    rating: Literal["positive", "negative"]
    """`positive` if the answer helped, `negative` if it is wrong or did not help."""
    comment: Annotated[Text, Field(max_length=MAX_COMMENT_CHARACTERS)] | None = None
    """What the person says about the answer, at most 4,000 characters."""


class RatedAnswerObject(ResponseModel):
    """An answer with feedback, and its question."""

    id: str
    """Id of the message with the answer."""
    object: Literal["message.feedback"] = "message.feedback"
    """Always `message.feedback`."""
    created_at: int
    """Time of the feedback."""
    conversation: str
    """Id of the conversation."""
    agent: str | None
    """Id of the agent; null if it is unknown."""
    rating: FeedbackRating
    """The feedback."""
    comment: str | None
    """What the person said about the answer; null without a comment."""
    question: str | None
    """The latest message of the customer before the answer; null if there is none."""
    follow_up: bool
    """True if the customer had written before the question. The question may then mean nothing by itself."""
    answer: str
    """The text of the answer."""
    sources: list[Any]
    """The sources of the answer."""

    @classmethod
    def of(cls, rated: RatedAnswer) -> Self:
        """Show the answer and its feedback."""
        return cls(
            id=rated.id,
            created_at=unix(rated.feedback_at),
            conversation=rated.conversation,
            agent=rated.agent,
            rating=rated.rating,
            comment=rated.comment,
            question=rated.question,
            follow_up=rated.follow_up,
            answer=rated.answer,
            sources=rated.sources,
        )


class RatedAnswerList(ListObject[RatedAnswerObject]):
    """A page of answers with feedback."""


@router.post(
    "/v1/messages/{message_id}/feedback", summary="Give feedback on an answer", response_model=MessageObject
)
async def create(message_id: str, body: FeedbackRequest, organisation: Organisation, once: Once) -> Response:
    """Stores the feedback in place of earlier feedback on the same message, and shows the message."""
    rating = FeedbackRating(body.rating)
    return await once(
        lambda connection: MessageObject.of(
            give_feedback(connection, organisation, message_id, rating, comment=body.comment)
        )
    )


@router.delete("/v1/messages/{message_id}/feedback", summary="Remove the feedback on an answer")
async def delete(message_id: str, service: ServiceDep, organisation: Organisation) -> MessageObject:
    """Removes the feedback on the message, and shows the message. The request may be sent again."""
    return await service.in_transaction(
        lambda connection: MessageObject.of(give_feedback(connection, organisation, message_id, None))
    )


@router.get("/v1/feedback", summary="List answers with feedback")
async def list_all(
    page: PageDep,
    service: ServiceDep,
    organisation: Organisation,
    rating: Annotated[FeedbackRating | None, Query(description="Only answers with this feedback")] = None,
    agent: Annotated[str | None, Query(description="Only answers of the agent with this id")] = None,
) -> RatedAnswerList:
    """Lists the answers with feedback by the time of the feedback, each with its question."""
    found = await service.read(
        lambda connection: list_feedback(connection, organisation, page, rating=rating, agent=agent)
    )
    return RatedAnswerList.of(found, RatedAnswerObject.of, lambda rated: rated.id)
