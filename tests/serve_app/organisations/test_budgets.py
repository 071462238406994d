"""A budget refuses requests that it does not cover, on every route that a model answers, and is exact."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest
from psycopg_pool import ConnectionPool

from cluster.budgets.budgets import NewBudget, Period, Unit, budgets_of, create_budget
from cluster.errors import Unavailable
from cluster.keys.api_keys import NewKey, create_key
from cluster.organisations.caller import Scope
from tests.conftest import new_organisation
from tests.serve_app.conftest import MODEL, Server, bearer
from tests.waiting import LONGEST_WAIT_S, until

HERON = {"model": MODEL, "input": "a heron"}
#: Number of tokens of this request, special tokens included.
TOKENS = 4


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    from cluster.database import open_pool
    from cluster.database.row_access import OWNER

    with open_pool(keyed_server.service.settings, access=OWNER) as pool:
        yield pool


class Tenant:
    """An organisation with a key, and its budgets."""

    def __init__(self, server: Server, pool: ConnectionPool) -> None:
        self.server, self.pool, self.organisation = server, pool, new_organisation(pool)
        with pool.connection() as connection:
            issued = create_key(connection, self.organisation, NewKey(name="all", scopes=frozenset(Scope)))
        self.key, self.text = issued.key.id, issued.text
        self.client = httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S, headers=bearer(issued.text))

    def budget(self, stop_at: object, **options: Any) -> str:
        """Create a budget, and wait until the replica knows it."""
        given = {"unit": Unit.TOKENS, "period": Period.DAY, "stop_at": Decimal(str(stop_at)), **options}
        with self.pool.connection() as connection:
            budget = create_budget(connection, self.organisation, NewBudget(**given))
        self.server.service.keys.start()  # which a deployed replica does at its start
        until(lambda: self.server.service.keys.has_stops(self.organisation))
        return budget.id

    def settled(self) -> Decimal:
        """What the only budget has used, as soon as nothing is reserved. It equals the usage events."""

        def read() -> tuple[Decimal, Decimal, tuple[Decimal] | None]:
            with self.pool.connection() as connection:
                (budget,) = budgets_of(connection, self.organisation)
                events = connection.execute(
                    "SELECT coalesce(sum(quantity), 0) FROM usage_events "
                    "WHERE organisation = %s AND unit = 'tokens'",
                    [self.organisation],
                ).fetchone()
            return budget.reserved, budget.used, events

        _, used, events = until(read, lambda read: not read[0], what="no reservation")
        assert events == (used,)
        return Decimal(used)


@pytest.fixture
def tenant(keyed_server: Server, keyed_pool: ConnectionPool) -> Iterator[Tenant]:
    tenant = Tenant(keyed_server, keyed_pool)
    yield tenant
    tenant.client.close()


def test_concurrent_requests_use_a_budget_to_the_last_token_and_no_more(tenant: Tenant) -> None:
    id = tenant.budget(10 * TOKENS + TOKENS - 1)

    def ask(_: int) -> int:
        return tenant.client.post("/v1/embeddings", json=HERON).status_code

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(ask, range(24)))
    assert sorted(statuses) == [200] * 10 + [429] * 14
    assert tenant.settled() == 10 * TOKENS
    refused = tenant.client.post("/v1/embeddings", json=HERON)
    error = refused.json()["error"]
    assert (error["type"], error["code"]) == ("insufficient_quota", "insufficient_quota")
    assert f"budget {id} allows" in error["message"]
    assert "renews at" in error["message"]
    assert int(refused.headers["retry-after"]) <= 86_400
    sent: list[httpx.Request] = []
    http = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    with openai.OpenAI(base_url=f"{tenant.server.url}/v1", api_key=tenant.text, http_client=http) as client:
        with pytest.raises(openai.RateLimitError, match="renews at"):
            client.embeddings.create(**HERON)  # type: ignore[arg-type]
        assert len(sent) == 1, "the client made a second attempt"


ROUTES: dict[str, Callable[[Tenant], httpx.Response]] = {
    "embeddings": lambda tenant: tenant.client.post("/v1/embeddings", json=HERON),
    "rerank": lambda tenant: tenant.client.post(
        "/v1/rerank", json={"model": MODEL, "query": "a bird", "documents": ["a heron"]}
    ),
    "cohere": lambda tenant: tenant.client.post(
        "/v2/embed", json={"model": MODEL, "texts": ["a"], "input_type": "search_query"}
    ),
    "tei": lambda tenant: tenant.client.post("/embed", json={"inputs": ["a heron"]}),
    "search": lambda tenant: tenant.client.post("/v1/vector_stores/birds/search", json={"query": "a heron"}),
}


def test_every_route_with_a_model_is_refused_and_counted(tenant: Tenant) -> None:
    assert tenant.client.post("/v1/vector_stores", json={"name": "birds"}).status_code == 200
    tenant.budget(1)
    for name, ask in ROUTES.items():
        assert ask(tenant).json()["error"]["code"] == "insufficient_quota", name
    assert tenant.settled() == 0
    assert tenant.client.get("/v1/models").status_code == 200


def test_every_route_with_a_model_settles_what_it_used(tenant: Tenant) -> None:
    assert tenant.client.post("/v1/vector_stores", json={"name": "birds"}).status_code == 200
    tenant.budget(10_000)
    used = Decimal(0)
    for name, ask in ROUTES.items():
        assert ask(tenant).status_code == 200, name
        before, used = used, tenant.settled()
        assert used > before, name


def test_work_that_fails_uses_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    tenant.budget(100)

    async def fail(*_: object, **__: object) -> None:
        raise Unavailable("the model breaks")

    monkeypatch.setattr(tenant.server.service.models.default.batcher, "embed", fail)
    assert tenant.client.post("/v1/embeddings", json=HERON).status_code == 503
    assert tenant.settled() == 0


def test_a_budget_of_a_key_concerns_no_other_key(tenant: Tenant) -> None:
    tenant.budget(1, key=tenant.key)
    assert tenant.client.post("/v1/embeddings", json=HERON).status_code == 429
    with tenant.pool.connection() as connection:
        other = create_key(connection, tenant.organisation, NewKey(name="other"))
    assert httpx.post(
        f"{tenant.server.url}/v1/embeddings", json=HERON, headers=bearer(other.text), timeout=LONGEST_WAIT_S
    ).is_success


def test_a_deleted_budget_no_longer_refuses(tenant: Tenant) -> None:
    id = tenant.budget(1)
    assert tenant.client.post("/v1/embeddings", json=HERON).status_code == 429
    refused = tenant.client.delete(f"/v1/budgets/{id}")  # the operator made it
    assert refused.status_code == 403
    assert "only the operator" in refused.json()["error"]["message"]
    with tenant.pool.connection() as connection:
        connection.execute("DELETE FROM budgets WHERE organisation = %s", [tenant.organisation])
    assert tenant.client.post("/v1/embeddings", json=HERON).status_code == 200
