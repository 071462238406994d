"""Feedback of people on the answers of agents: positive or negative, with a comment.

``POST /v1/messages/{id}/feedback`` calls ``give_feedback``. Analytics count feedback in the window of the
message. ``python -m data_jobs.export_feedback`` makes golden questions, for the evaluation of agents, from
answers with positive feedback.

    give_feedback(connection, "acme", "msg_...", FeedbackRating.POSITIVE, comment=None)
    list_feedback(connection, "acme", PageRequest(limit=20), rating=FeedbackRating.NEGATIVE, agent=None)
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import Connection

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import InvalidInput
from cluster.platform_data.rows import MESSAGES, Message

SQL = queries("cluster.platform_data", "feedback.sql")
LISTS = ListStatements(
    **{
        name: SQL[name].replace("{columns}", SQL["columns"]).replace("{filter}", SQL["filter"])
        for name in ("newest", "oldest", "places")
    }
)


class FeedbackRating(StrEnum):
    """What a person thinks of an answer."""

    #: The answer helped.
    POSITIVE = "positive"
    #: The answer is wrong or does not help.
    NEGATIVE = "negative"


@dataclass(frozen=True, kw_only=True, slots=True)
class RatedAnswer:
    """An answer with feedback, and its question."""

    #: Id of the message with the answer.
    id: str
    conversation: str
    agent: str | None
    #: The latest message of the customer before the answer; None if the conversation has none.
    question: str | None
    #: True if the customer had written before the question. The question may then mean nothing by itself.
    follow_up: bool
    answer: str
    rating: FeedbackRating
    comment: str | None
    #: The sources of the answer, as the message names them.
    sources: list[Any]
    occurred_at: datetime
    feedback_at: datetime


def give_feedback(
    connection: Connection[Any],
    organisation: str,
    message: str,
    rating: FeedbackRating | None,
    *,
    comment: str | None = None,
) -> Message:
    """Store the feedback in place of earlier feedback on the message, and return the message.

    Args:
        message: id of the message.
        rating: the new feedback; None removes the feedback.

    Raises:
        NotFound: the organisation has no such message.
        InvalidInput: the message is not an answer.
    """
    values = {"organisation": organisation, "id": message, "rating": rating, "comment": comment}
    changed = connection.execute(SQL["give"], values).rowcount
    found = MESSAGES.get(connection, organisation, message)
    if not changed:
        raise InvalidInput(
            f"message {message!r} has the role {found.role}, and only messages of the role assistant take "
            "feedback; send the id of an answer",
            param="message_id",
        )
    return found


def list_feedback(
    connection: Connection[Any],
    organisation: str,
    page: PageRequest,
    *,
    rating: FeedbackRating | None = None,
    agent: str | None = None,
) -> ListPage[RatedAnswer]:
    """Return one page of the answers with feedback, by the time of the feedback.

    Args:
        rating: only answers with this feedback.
        agent: only answers of the agent with this id.

    Raises:
        InvalidInput: a cursor of the page is not an answer of this list.
    """
    values = {"organisation": organisation, "rating": rating, "agent": agent}
    found = read_page(connection, LISTS, values, page)
    rows = [RatedAnswer(**{**row, "rating": FeedbackRating(row["rating"])}) for row in found.items]
    return ListPage(items=rows, has_more=found.has_more)
