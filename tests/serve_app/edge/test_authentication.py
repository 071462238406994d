"""A server with a key refuses requests without it; one without a key listens on the loopback interface."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
from openai import AuthenticationError, OpenAI
from psycopg_pool import ConnectionPool
from pydantic import SecretStr, ValidationError

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import Misconfigured
from cluster.keys.api_keys import NewKey, create_key, revoke_key
from cluster.keys.open_address import require_key
from cluster.organisations.caller import Scope
from cluster.settings import Settings
from serve_app.edge.authentication import OPEN_PATHS
from tests.conftest import new_organisation
from tests.openai_contract import complaints
from tests.own_database import own_database
from tests.serve_app.conftest import MODEL, Server, serving
from tests.serve_app.raw_requests import connect
from tests.waiting import LONGEST_WAIT_S

KEY = "sk-größe-0123456789"


@pytest.fixture(scope="module")
def locked(settings: Settings, pool: ConnectionPool) -> Iterator[Server]:
    """A server with a key."""
    with serving(settings.model_copy(update={"api_key": SecretStr(KEY)})) as server:
        yield server


@pytest.fixture(scope="module")
def keyed(settings: Settings, database_url: str) -> Iterator[Settings]:
    """Settings with a database of its own."""
    with own_database(settings, database_url) as own:
        yield own


def test_the_client_is_served_with_the_key_and_refused_without(locked: Server) -> None:
    with OpenAI(base_url=f"{locked.url}/v1", api_key="sk-0123456789", max_retries=0) as client:
        for ask in (
            client.models.list,
            lambda: client.embeddings.create(model=MODEL, input="a"),
            client.files.list,
        ):
            with pytest.raises(AuthenticationError) as caught:
                ask()
            assert caught.value.code == "invalid_api_key"
    with httpx.Client(
        base_url=locked.url, headers={"authorization": f"Bearer {KEY}".encode()}, timeout=LONGEST_WAIT_S
    ) as http:
        assert http.get("/v1/models").status_code == 200
        assert http.post("/v1/embeddings", json={"model": MODEL, "input": "a"}).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        KEY,
        f"Basic {KEY}",
        "Bearer",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY}x",
        f"Bearer {KEY.upper()}",
        "Bearer é",
    ],
)
def test_only_the_key_itself_is_accepted(locked: Server, header: str | None) -> None:
    answer = httpx.get(
        f"{locked.url}/v1/models", headers={} if header is None else {"authorization": header.encode()}
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert complaints("ErrorResponse", answer.json()) == []


def test_no_route_answers_without_the_key(locked: Server) -> None:
    """Every route of the API description, aliases included, and paths without a route."""
    with httpx.Client(base_url=locked.url, timeout=LONGEST_WAIT_S) as http:
        for path, operations in http.get("/openapi.json").json()["paths"].items():
            for method in operations:
                expected = 200 if path in OPEN_PATHS else 401
                assert http.request(method, path.replace("{", "").replace("}", "")).status_code == expected, (
                    path
                )
        assert http.get("/v1/nowhere").status_code == 401
        for path in ("/v1//models", "/v1/models/", "//healthz", "/healthz/../v1/models", "/V1/models"):
            assert http.request("GET", httpx.URL(f"{locked.url}{path}")).status_code == 401, path


def test_a_request_without_the_key_is_refused_before_its_body_arrives(locked: Server) -> None:
    head = (
        b"POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=B\r\n"
        b"Content-Length: 100000\r\n\r\n"
    )
    with connect(locked) as connection:
        connection.sendall(head + b"--B\r\n")
        assert connection.recv(20).startswith(b"HTTP/1.1 401")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "cluster.internal"])
def test_other_machines_can_connect_only_where_there_is_a_key(host: str, keyed: Settings) -> None:
    """The keys of organisations count, unless they are revoked."""
    with open_pool(keyed, access=OWNER) as pool:
        new = NewKey(name="ci", scopes=frozenset({Scope.READ}))
        owner = new_organisation(pool)
        with pytest.raises(Misconfigured, match="CLUSTER_API_KEY"):
            require_key(keyed, host)
        require_key(keyed.model_copy(update={"api_key": SecretStr(uuid4().hex)}), host)
        with pool.connection() as connection:
            key = create_key(connection, owner, new).key
        require_key(keyed, host)
        with pool.connection() as connection:
            revoke_key(connection, owner, key.id)
        with pytest.raises(Misconfigured, match="there is no API key"):
            require_key(keyed, host)


def test_an_open_address_is_refused_while_the_database_cannot_tell_of_keys() -> None:
    away = Settings(database_url=SecretStr("postgresql://u:p@127.0.0.1:9/none"))
    with pytest.raises(Misconfigured, match="does not answer"):
        require_key(away, "0.0.0.0")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_the_loopback_interface_needs_no_key(host: str) -> None:
    require_key(Settings(), host)


def test_a_placeholder_is_refused_as_a_key() -> None:
    with pytest.raises(ValidationError, match="placeholder"):
        Settings(
            environment="production",
            database_url=SecretStr("postgresql://u:s3cret@host/db"),
            api_key=SecretStr("changeme"),
        )
