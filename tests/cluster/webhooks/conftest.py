"""Endpoints of an organisation that the test made; they are deleted after the test."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from psycopg import Connection
from pydantic import SecretStr

from cluster.secrets import SecretCipher, open_cipher
from cluster.webhooks.endpoints import NewEndpoint, create_endpoint
from cluster.webhooks.event_types import EVENT_TYPES
from tests.keys_in_output import marked_fernet_key

NewEndpointId = Callable[..., str]


@pytest.fixture(scope="session")
def cipher() -> SecretCipher:
    """The cipher of a new key."""
    return open_cipher(SecretStr(marked_fernet_key()))


@pytest.fixture
def new_endpoint(
    connection: Connection[Any], organisation: str, cipher: SecretCipher
) -> Iterator[NewEndpointId]:
    """``new_endpoint(url)`` makes an endpoint for all event types, and returns its id."""
    owners = {organisation}

    def make(
        url: str = "https://hooks.example/",
        types: list[str] | None = None,
        owner: str = organisation,
        **more: Any,
    ) -> str:
        owners.add(owner)
        new = NewEndpoint(url=url, event_types=types or list(EVENT_TYPES), **more)
        with connection.transaction():
            return create_endpoint(connection, cipher, owner, new, limit=100)[0].id

    yield make
    connection.execute("DELETE FROM webhook_endpoints WHERE organisation = ANY(%s)", [list(owners)])
