"""Create, list, show and change the rows of organisations.

``python -m cluster.organisations`` and the operator's routes ``/v1/organisations`` call this module. Each
change is recorded in the audit log. ``cluster.documents.organisation_deletion`` deletes an organisation.

    create_organisation(connection, "acme", OrganisationOptions(name="Acme", time_zone="Europe/Berlin"))
    change_organisation(connection, "acme", {"weight": 2.0})
"""

import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.database.paging import FIRST_PAGE, ListPage, ListStatements, PageRequest, read_page
from cluster.database.queries import queries
from cluster.errors import Conflict, InvalidInput, NotFound
from cluster.organisations.audit import record
from cluster.organisations.organisations import lock_organisation

ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_NAME_CHARACTERS = 128
#: The last day of the month on which a billing period may begin, because every month has this day.
LAST_BILLING_DAY = 28
#: Limits for which 0 means that there is no limit.
LIMITS = (
    "files_limit",
    "bytes_limit",
    "requests_per_minute",
    "tokens_per_minute",
    "jobs_limit",
    "vectors_limit",
)
#: Maximum of Postgres' types ``integer`` and ``bigint``.
MAX_INTEGER, MAX_BIGINT = 2**31 - 1, 2**63 - 1


@dataclass(frozen=True, kw_only=True, slots=True)
class OrganisationOptions:
    """The properties of an organisation that the operator chooses."""

    #: Name for people; empty: people see the id.
    name: str = ""
    #: IANA name of the time zone in which the organisation's days begin.
    time_zone: str = "UTC"
    #: Day of the month, 1 to 28, on which a billing period begins.
    billing_day: int = 1
    #: Weight with which a model's time is divided between organisations. None: the weight in
    #: ``CLUSTER_ORGANISATION_WEIGHTS``; if the setting has no weight for the organisation, 1.
    weight: float | None = None
    #: Maximum number of jobs of one priority class that run at the same time; None: no limit.
    concurrency_limit: int | None = None
    #: Maximum number of files; 0: no limit; None: the setting ``CLUSTER_ORGANISATION_FILES``.
    files_limit: int | None = None
    #: Maximum number of bytes of files; 0: no limit; None: the setting ``CLUSTER_ORGANISATION_BYTES``.
    bytes_limit: int | None = None
    #: Maximum number of requests in a minute; 0: no limit; None: the setting
    #: ``CLUSTER_ORGANISATION_REQUESTS_PER_MINUTE``.
    requests_per_minute: int | None = None
    #: Maximum number of tokens that models read for requests in a minute; 0: no limit; None: the setting
    #: ``CLUSTER_ORGANISATION_TOKENS_PER_MINUTE``.
    tokens_per_minute: int | None = None
    #: Maximum number of unfinished jobs; 0 or None: no limit.
    jobs_limit: int | None = None
    #: Maximum number of stored vectors; 0 or None: no limit.
    vectors_limit: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OrganisationRow(OrganisationOptions):
    """An organisation as it is stored in the database."""

    id: str
    created_at: datetime
    #: Time at which the deletion was requested; None if it was not requested.
    deleted_at: datetime | None
    #: Id of the job that deletes what the organisation owns. The job belongs to the organisation ``system``.
    deletion_job: str | None


Options = TypeVar("Options", bound=OrganisationOptions)
COLUMNS = ", ".join(field.name for field in fields(OrganisationRow))
OPTIONS = tuple(field.name for field in fields(OrganisationOptions))
SQL = {
    name: text.replace("{columns}", COLUMNS)
    for name, text in queries("cluster.organisations", "organisations.sql").items()
}
LISTS = ListStatements(newest=SQL["newest"], oldest=SQL["oldest"], places=SQL["places"])


def create_organisation(
    connection: Connection[Any], id: str, options: OrganisationOptions
) -> OrganisationRow:
    """Create an organisation in the caller's transaction.

    Raises:
        InvalidInput: the id or an option is outside its limits.
        Conflict: the id is taken. The id of a deleted organisation stays taken, because bills name it.
    """
    if not ID.fullmatch(id):
        raise InvalidInput(
            f"{id!r} cannot be the id of an organisation; use 1 to 64 letters, digits, hyphens and "
            "underscores",
            param="id",
        )
    options = _checked(replace(options, name=options.name or id))
    row = _one(connection, "insert", {"id": id, **asdict(options)})
    if row is None:
        raise Conflict(
            f"the id {id!r} is taken by an organisation that exists or was deleted; choose another"
        )
    _limit_vectors(connection, row)
    record(connection, id, "organisation.created", target=id, details=asdict(options))
    return row


def get_organisation(connection: Connection[Any], id: str) -> OrganisationRow:
    """Return the organisation, even if it is deleted.

    Raises:
        NotFound: there is no such organisation.
    """
    row = _one(connection, "get", {"id": id})
    if row is None:
        raise NotFound(f"no organisation {id!r}")
    return row


def list_organisations(
    connection: Connection[Any], page: PageRequest = FIRST_PAGE
) -> ListPage[OrganisationRow]:
    """Return a page of all organisations, including deleted organisations and the organisation ``system``.

    Raises:
        InvalidInput: the cursor is not the id of an organisation.
    """
    found = read_page(connection, LISTS, {}, page)
    return ListPage(items=[OrganisationRow(**row) for row in found.items], has_more=found.has_more)


def change_organisation(connection: Connection[Any], id: str, changes: Mapping[str, Any]) -> OrganisationRow:
    """Change some options of the organisation in the caller's transaction.

    Args:
        changes: new values, by the names of the fields of ``OrganisationOptions``.

    Raises:
        InvalidInput: an option is outside its limits.
        NotFound: there is no such organisation.
        Conflict: the organisation is deleted.
    """
    lock_organisation(connection, id)
    before = get_organisation(connection, id)
    after = _checked(replace(before, **changes))
    row = _one(connection, "update", {name: getattr(after, name) for name in ("id", *OPTIONS)})
    assert row is not None
    changed = {
        name: [getattr(before, name), getattr(row, name)]
        for name in OPTIONS
        if getattr(before, name) != getattr(row, name)
    }
    if "vectors_limit" in changed:
        _limit_vectors(connection, row)
    if changed:
        record(connection, id, "organisation.changed", target=id, details=changed)
    return row


def _limit_vectors(connection: Connection[Any], row: OrganisationRow) -> None:
    connection.execute(SQL["limit_vectors"], {"organisation": row.id, "limit": row.vectors_limit or None})


def _checked(options: Options) -> Options:
    if not (0 < len(options.name) <= MAX_NAME_CHARACTERS and options.name.isprintable()):
        raise InvalidInput(
            f"an organisation's name has 1 to {MAX_NAME_CHARACTERS} printable characters", param="name"
        )
    try:
        ZoneInfo(options.time_zone)
    except (KeyError, ValueError, OSError):  # there is no such zone, or no file can have this name
        raise InvalidInput(
            f"{options.time_zone!r} is no time zone; send an IANA name such as Europe/Berlin",
            param="time_zone",
        ) from None
    if not 1 <= options.billing_day <= LAST_BILLING_DAY:
        raise InvalidInput(
            f"billing_day is {options.billing_day}; it must be in 1..{LAST_BILLING_DAY}, because every month "
            "has these days",
            param="billing_day",
        )
    if options.weight is not None and not (options.weight > 0 and math.isfinite(options.weight)):
        raise InvalidInput(f"weight is {options.weight}; it must be above 0", param="weight")
    for name, least, most in (
        ("concurrency_limit", 1, MAX_INTEGER),
        *((name, 0, MAX_BIGINT) for name in LIMITS),
    ):
        value = getattr(options, name)
        if value is not None and not least <= value <= most:
            raise InvalidInput(f"{name} is {value}; it must be in {least}..{most}", param=name)
    return options


def _one(connection: Connection[Any], statement: str, values: Mapping[str, Any]) -> OrganisationRow | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(SQL[statement], values).fetchone()
    return None if row is None else OrganisationRow(**row)
