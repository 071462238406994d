"""/v1/organisation/keys: create, list, change, rotate and revoke the API keys of the caller's organisation.

These routes need a key with the scope ``admin``, or the operator's key. They take no ``Idempotency-Key``,
because the stored answer would hold a key.
"""

from typing import Annotated, Literal, Self

from pydantic import Field

from cluster.errors import InvalidInput
from cluster.keys import api_keys
from cluster.keys.api_keys import MAX_LISTED, MAX_NAME_CHARACTERS, MAX_OVERLAP_S, ApiKey, IssuedKey, NewKey
from cluster.keys.key_limits import LIMITS, MAX_LIMIT
from cluster.organisations.caller import Scope
from serve_app.edge.authentication import Organisation
from serve_app.edge.error_responses import documented_errors
from serve_app.edge.json_route import json_router
from serve_app.edge.paging import PageDep
from serve_app.edge.request_model import Moment, RequestModel, Text, Whole
from serve_app.edge.response_model import ListObject, ResponseModel
from serve_app.edge.service_access import ServiceDep

router = json_router(404, 409)

Names = Annotated[list[Text], Field(min_length=1, max_length=MAX_LISTED)]


Limit = Annotated[Whole, Field(ge=1, le=MAX_LIMIT)]


class KeyLimitFields(RequestModel):
    """New limits of a key. A field that is left out keeps its value, and null removes the limit. The limits
    of the organisation apply, too.
    """

    NULL_CLEARS = frozenset(LIMITS)

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because the key would allow more if a misspelled limit were ignored."""
        del name
        return False

    requests_per_minute: Limit | None = None
    """Maximum number of requests in a minute; null: no such limit."""
    tokens_per_minute: Limit | None = None
    """Maximum number of tokens that models read for the key in a minute; null: no such limit."""
    jobs_limit: Limit | None = None
    """Maximum number of unfinished jobs that the key asked for; null: no such limit."""
    files_limit: Limit | None = None
    """Maximum number of files that the key created, pending uploads included; null: no such limit."""
    bytes_limit: Limit | None = None
    """Maximum number of bytes of the files that the key created; null: no such limit."""
    vectors_limit: Limit | None = None
    """Maximum number of vectors in the vector stores that the key created; null: no such limit."""


class NewKeyRequest(KeyLimitFields):
    """A new API key."""

    NULL_CLEARS = frozenset()

    name: Annotated[Text, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    """A name by which people know the key."""
    scopes: Annotated[list[Literal["read", "write", "admin"]], Field(min_length=1)] = ["read", "write"]  # noqa: RUF012
    """What the key allows: `read` for requests that change nothing, `write` for changes, `admin` for the keys
    and the audit log of the organisation. No scope includes another scope."""
    models: Names | None = None
    """Names of the only models that the key may use; null: all models. A key with the scope `admin` cannot
    have this list.
    """
    stores: Names | None = None
    """Ids of the only vector stores that the key may use; null: all stores. A key with the scope `admin`
    cannot have this list.
    """
    expires_at: Moment | None = None
    """Time at which the key stops working, in RFC 3339 or in seconds since 1970; null: no such time."""


class RotateKeyRequest(RequestModel):
    """Options for the replacement of a key."""

    @classmethod
    def may_ignore(cls, name: str) -> bool:
        """Return False, because the old key would stop at once if a misspelled `overlap_s` were ignored."""
        del name
        return False

    overlap_s: Annotated[Whole, Field(ge=0, le=MAX_OVERLAP_S)] = 0
    """Seconds for which the old key continues to work; with 0, the old key stops at once."""


class KeyObject(ResponseModel):
    """An API key, without its secret."""

    object: Literal["organization.api_key"] = "organization.api_key"
    """Always `organization.api_key`."""
    id: str
    """Id of the key."""
    name: str
    """Name of the key."""
    prefix: str
    """The beginning of the key, by which people recognise the key."""
    status: Literal["active", "expired", "revoked"]
    """The state of the key. Only an `active` key works."""
    scopes: list[Literal["read", "write", "admin"]]
    """What the key allows."""
    models: list[str] | None
    """Names of the only models that the key may use; null: all models."""
    stores: list[str] | None
    """Ids of the only vector stores that the key may use; null: all stores."""
    created_at: int
    """When the key was created, in seconds since 1970."""
    created_by: str
    """Id of the key that created this key, or name of the user who ran the command."""
    expires_at: int | None
    """Time at which the key stops working, in seconds since 1970; null: the key never stops working."""
    last_used_at: int | None
    """Time of the last use, exact to a minute, in seconds since 1970; null: the key was never used."""
    revoked_at: int | None
    """Time at which the key was revoked, in seconds since 1970; null: the key is not revoked."""
    requests_per_minute: int | None
    """Maximum number of requests in a minute; null: no such limit."""
    tokens_per_minute: int | None
    """Maximum number of tokens that models read for the key in a minute; null: no such limit."""
    jobs_limit: int | None
    """Maximum number of unfinished jobs that the key asked for; null: no such limit."""
    files_limit: int | None
    """Maximum number of files that the key created, pending uploads included; null: no such limit."""
    bytes_limit: int | None
    """Maximum number of bytes of the files that the key created; null: no such limit."""
    vectors_limit: int | None
    """Maximum number of vectors in the vector stores that the key created; null: no such limit."""

    @classmethod
    def of(cls, key: ApiKey) -> Self:
        """Convert the key into the object that answers contain."""
        return cls.model_validate(fields_of(key))


class IssuedKeyObject(KeyObject):
    """A new API key. This is the only answer that shows its secret."""

    key: str
    """The key itself. The key is not stored, so it cannot be shown again."""

    @classmethod
    def of_issued(cls, issued: IssuedKey) -> Self:
        """Convert the new key with its secret into the object that answers contain."""
        return cls.model_validate({**fields_of(issued.key), "key": issued.text})


class KeyList(ListObject[KeyObject]):
    """One page of the keys."""


def fields_of(key: ApiKey) -> dict[str, object]:
    """Return the fields with which an answer shows the key."""
    return {
        "id": key.id,
        "name": key.name,
        "prefix": key.prefix,
        "status": key.status,
        "scopes": sorted(key.scopes),
        "models": None if key.models is None else list(key.models),
        "stores": None if key.stores is None else list(key.stores),
        "created_at": int(key.created_at.timestamp()),
        "created_by": key.created_by,
        **{
            name: None if (at := getattr(key, name)) is None else int(at.timestamp())
            for name in ("expires_at", "last_used_at", "revoked_at")
        },
        **{name: getattr(key, name) for name in LIMITS},
    }


@router.post("/v1/organisation/keys", summary="Create an API key")
async def create(body: NewKeyRequest, service: ServiceDep, organisation: Organisation) -> IssuedKeyObject:
    """Creates a key of the caller's organisation, and shows its secret once."""
    unknown = [name for name in body.models or () if name not in service.models]
    if unknown:
        raise InvalidInput(
            f"models lists {unknown[0]!r}, which this endpoint does not serve; it serves "
            f"{', '.join(service.models)}",
            param="models",
        )
    new = NewKey(
        name=body.name,
        scopes=frozenset(map(Scope, body.scopes)),
        models=None if body.models is None else tuple(body.models),
        stores=None if body.stores is None else tuple(body.stores),
        expires_at=body.expires_at,
        **{name: getattr(body, name) for name in LIMITS},
    )
    return IssuedKeyObject.of_issued(
        await service.in_transaction(lambda connection: api_keys.create_key(connection, organisation, new))
    )


@router.get("/v1/organisation/keys", summary="List API keys")
async def list_all(page: PageDep, service: ServiceDep, organisation: Organisation) -> KeyList:
    """Lists the keys of the caller's organisation one page at a time, revoked and expired keys included."""
    found = await service.read(lambda connection: api_keys.list_keys(connection, organisation, page))
    return KeyList.of(found, KeyObject.of, lambda key: key.id)


@router.get("/v1/organisation/keys/{key_id}", summary="Get an API key")
async def get(key_id: str, service: ServiceDep, organisation: Organisation) -> KeyObject:
    """Returns the key with this id, without its secret."""
    return KeyObject.of(
        await service.read(lambda connection: api_keys.get_key(connection, organisation, key_id))
    )


@router.post("/v1/organisation/keys/{key_id}", summary="Change the limits of an API key")
async def change(
    key_id: str, body: KeyLimitFields, service: ServiceDep, organisation: Organisation
) -> KeyObject:
    """Changes the given limits; limits that are left out keep their values."""
    changes = body.model_dump(exclude_unset=True)
    return KeyObject.of(
        await service.in_transaction(
            lambda connection: api_keys.change_limits(connection, organisation, key_id, changes)
        )
    )


@router.post(
    "/v1/organisation/keys/{key_id}/rotate",
    summary="Rotate an API key",
    responses=documented_errors(404, 409),
)
async def rotate(
    key_id: str, service: ServiceDep, organisation: Organisation, body: RotateKeyRequest
) -> IssuedKeyObject:
    """Creates a new key with the properties of the old key, and shows the secret of the new key once.

    The old key stops working at once, or after `overlap_s` seconds.
    """
    return IssuedKeyObject.of_issued(
        await service.in_transaction(
            lambda connection: api_keys.rotate_key(connection, organisation, key_id, overlap_s=body.overlap_s)
        )
    )


@router.delete("/v1/organisation/keys/{key_id}", summary="Revoke an API key")
async def revoke(key_id: str, service: ServiceDep, organisation: Organisation) -> KeyObject:
    """Revokes the key. Every replica refuses requests with this key within a second. The key stays in the
    list.
    """
    return KeyObject.of(
        await service.in_transaction(lambda connection: api_keys.revoke_key(connection, organisation, key_id))
    )
