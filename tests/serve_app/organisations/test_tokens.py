"""A token of the issuer allows what its scopes say in its own organisation, and nothing elsewhere."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import NotAuthenticated
from cluster.keys.known_keys import KnownKeys
from cluster.keys.open_address import require_key
from cluster.settings import Settings
from tests.cluster.oidc.issuer import AUDIENCE, Issuer
from tests.conftest import new_organisation
from tests.openai_contract import complaints
from tests.serve_app.conftest import MODEL, Server, bearer
from tests.serve_app.organisations.operations import NOTHING, ask, operations
from tests.waiting import LONGEST_WAIT_S, until


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    """Connections to the database of the server with an issuer."""
    pool = open_pool(keyed_server.service.settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def organisation(keyed_pool: ConnectionPool) -> str:
    """An organisation of that database."""
    return new_organisation(keyed_pool)


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
def test_every_route_needs_the_scope_that_the_document_names(
    keyed_server: Server, issuer: Issuer, organisation: str, scope: str
) -> None:
    headers = bearer(issuer.token("ec-1", organisation=organisation, scope=f"openid {scope} operator"))
    with httpx.Client(base_url=keyed_server.url, timeout=LONGEST_WAIT_S, headers=headers) as client:
        for operation in operations():
            answer = ask(client, operation, NOTHING)
            assert (answer.status_code == 403) == (operation.scope != scope), f"{operation}: {answer.text}"
            if answer.status_code == 403:
                assert complaints("ErrorResponse", answer.json()) == []
                assert answer.json()["error"]["code"] == "insufficient_permissions"


def test_openai_s_client_works_with_a_token_and_its_usage_names_no_key(
    keyed_server: Server, keyed_pool: ConnectionPool, issuer: Issuer
) -> None:
    own = new_organisation(keyed_pool)
    token = issuer.token(organisation=own)
    with OpenAI(base_url=f"{keyed_server.url}/v1", api_key=token, max_retries=0) as client:
        assert client.embeddings.create(model=MODEL, input="a heron").usage.total_tokens > 0
        created = client.post("/organisation/keys", cast_to=httpx.Response, body={"name": "by a token"})
        assert created.status_code == 200
    with keyed_pool.connection() as connection:
        actors = connection.execute(
            "SELECT actor_kind, actor, address FROM audit_events WHERE organisation = %s", [own]
        ).fetchall()
        assert actors == [("token", "ada", "127.0.0.1")]
    keys = until(lambda: keys_of_usage(keyed_pool, own), lambda found: len(found) > 1)
    assert set(keys) == {None}


def keys_of_usage(pool: ConnectionPool, organisation: str) -> list[str | None]:
    """The key of each usage event of the organisation."""
    with pool.connection() as connection:
        rows = connection.execute("SELECT key FROM usage_events WHERE organisation = %s", [organisation])
        return [key for (key,) in rows]


def test_refusals_are_openai_errors(keyed_server: Server, issuer: Issuer, organisation: str) -> None:
    for token, status, code in (
        (issuer.token(organisation=organisation, exp=1), 401, "invalid_api_key"),
        (issuer.token(organisation="nowhere"), 403, "insufficient_permissions"),
    ):
        answer = httpx.get(f"{keyed_server.url}/v1/models", headers=bearer(token), timeout=LONGEST_WAIT_S)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert complaints("ErrorResponse", answer.json()) == []
        assert token not in answer.text


def test_a_token_of_a_deleted_organisation_stops(
    keyed_server: Server, keyed_pool: ConnectionPool, operator: httpx.Client, issuer: Issuer
) -> None:
    own = new_organisation(keyed_pool)
    headers = bearer(issuer.token(organisation=own))
    assert (
        httpx.get(f"{keyed_server.url}/v1/files", headers=headers, timeout=LONGEST_WAIT_S).status_code == 200
    )
    assert operator.delete(f"/v1/organisations/{own}").status_code < 300
    for _ in range(100):
        answer = httpx.get(f"{keyed_server.url}/v1/files", headers=headers, timeout=LONGEST_WAIT_S)
        if answer.status_code == 403:
            break
    assert answer.status_code == 403


def test_with_an_issuer_every_request_needs_a_credential(settings: Settings, pool: ConnectionPool) -> None:
    own = settings.model_copy(update={"oidc_issuer": "https://issuer.example", "oidc_audience": AUDIENCE})
    keys = KnownKeys(own, open_database=lambda: None)
    with pytest.raises(NotAuthenticated, match="carries no API key"):
        asyncio.run(keys.identify(None, None))
    keys.close()
    require_key(own, "0.0.0.0")  # may listen, because every request needs a key or a token
