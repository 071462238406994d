"""A server that requests may reach, and clients of the guarded transport."""

from collections.abc import Iterator

import pytest

from cluster.outbound import OutboundClient
from cluster.settings import Settings
from tests.cluster.outbound.outside import OutsideServer, outside, reaching


@pytest.fixture(scope="session")
def strict() -> OutboundClient:
    """A client with the default settings, which asks the operating system for addresses."""
    return OutboundClient(Settings())


@pytest.fixture(scope="session")
def only_server() -> Iterator[OutsideServer]:
    """A server on the only inner address that ``client`` may reach."""
    with outside() as server:
        yield server


@pytest.fixture
def server(only_server: OutsideServer) -> OutsideServer:
    """The same server, without answers and requests of other tests."""
    only_server.answers.clear()
    only_server.requests.clear()
    return only_server


@pytest.fixture(scope="session")
def client(only_server: OutsideServer) -> OutboundClient:
    """A client that may reach the server."""
    return OutboundClient(reaching(only_server.port))
