"""Gets and lists agents, customers, conversations and messages of an organisation.

The routes use these tables. Lists are paged by creation time, but messages are paged by the time at which
they were written.

    AGENTS.get(connection, "acme", "agent_...")
    CUSTOMERS.page(connection, "acme", PageRequest(limit=20), external_id=None)
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import NotFound

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Agent:
    """An agent that talks to customers."""

    id: str
    external_id: str
    name: str
    #: Name of the model; None if it is unknown.
    model: str | None
    #: The other fields of its definition (``cluster.agents``); None if only events name the agent.
    definition: dict[str, Any] | None
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Customer:
    """A customer of the organisation."""

    id: str
    external_id: str
    name: str | None
    email: str | None
    properties: dict[str, Any]
    #: True if the customer agrees to be profiled, False if the customer refuses; None if neither is known.
    profiling: bool | None
    #: Times of the customer's earliest and latest event.
    first_seen_at: datetime
    last_seen_at: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """A conversation of a customer with an agent. Each time is None if there was no such event."""

    id: str
    external_id: str
    agent: str | None
    customer: str | None
    channel: str | None
    started_at: datetime | None
    ended_at: datetime | None
    resolved: bool | None
    handed_over_at: datetime | None
    rating: int | None
    rated_at: datetime | None
    first_event_at: datetime
    last_event_at: datetime
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A message of a conversation."""

    id: str
    conversation: str
    agent: str | None
    role: str
    text: str
    model: str | None
    latency_ms: int | None
    time_to_first_token_ms: int | None
    input_tokens: int
    output_tokens: int
    cost: Decimal
    error_class: str | None
    retrieval_hit: bool | None
    sources: list[Any]
    #: ``positive`` or ``negative``; None if there is no feedback on the message.
    feedback: str | None
    feedback_comment: str | None
    occurred_at: datetime


class _Table(Generic[T]):
    """Reads the rows of one table.

    Args:
        record: the dataclass of a row; its fields are the columns.
        noun: the name of such a row in errors.
        filters: the columns by which a list may be filtered. A filter that is None does not apply.
        condition: a condition in SQL that every row must meet.
        at: the column by which lists are sorted.
    """

    def __init__(
        self,
        name: str,
        record: type[T],
        noun: str,
        *,
        filters: tuple[str, ...] = (),
        at: str = "created_at",
        condition: str = "true",
    ) -> None:
        self._record, self._noun = record, noun
        names = {
            "{columns}": ", ".join(field.name for field in fields(record)),  # type: ignore[arg-type]
            "{table}": name,
            "{at}": at,
            "{condition}": condition,
            "{filter}": " AND ".join(
                [condition, *(f"(%({one})s::text IS NULL OR {one} = %({one})s)" for one in filters)]
            ),
        }
        statements = dict(queries("cluster.platform_data", "rows.sql"))
        for placeholder, text in names.items():
            statements = {key: sql.replace(placeholder, text) for key, sql in statements.items()}
        self._get = statements["get"]
        self._lists = ListStatements(
            newest=statements["newest"], oldest=statements["oldest"], places=statements["places"]
        )

    def get(self, connection: Connection[Any], organisation: str, id: str) -> T:
        """Return the row with this id.

        Raises:
            NotFound: the organisation has no such row.
        """
        with connection.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute(self._get, {"organisation": organisation, "id": id}).fetchone()
        if row is None:
            raise NotFound(f"there is no {self._noun} {id!r}")
        return self._record(**row)

    def page(
        self, connection: Connection[Any], organisation: str, page: PageRequest, **filters: str | None
    ) -> ListPage[T]:
        """Return one page of the rows that the filters select."""
        values: Mapping[str, Any] = {"organisation": organisation, **filters}
        found = read_page(connection, self._lists, dict(values), page)
        return ListPage(items=[self._record(**row) for row in found.items], has_more=found.has_more)


AGENTS = _Table("agents", Agent, "agent", filters=("external_id",), condition="deleted_at IS NULL")
CUSTOMERS = _Table("customers", Customer, "customer", filters=("external_id",))
CONVERSATIONS = _Table(
    "conversations", Conversation, "conversation", filters=("agent", "customer", "external_id")
)
MESSAGES = _Table("messages", Message, "message", filters=("conversation",), at="occurred_at")


def list_messages(
    connection: Connection[Any], organisation: str, conversation: str, page: PageRequest
) -> ListPage[Message]:
    """Return one page of the conversation's messages.

    Raises:
        NotFound: the organisation has no such conversation.
        InvalidInput: a cursor of the page is not a message of the conversation.
    """
    CONVERSATIONS.get(connection, organisation, conversation)
    return MESSAGES.page(connection, organisation, page, conversation=conversation)
