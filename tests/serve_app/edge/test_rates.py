"""Organisations and keys have rates, and every answer shows what remains of them."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from openai import OpenAI
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER
from cluster.errors import InvalidInput
from cluster.keys.api_keys import NewKey, create_key
from cluster.organisations.caller import Caller, CallerKind
from cluster.organisations.rates import Rates
from cluster.rate_limits.leased_rates import LeasedRates
from cluster.usage.events import CHAT_INPUT, UsageSource
from serve_app.embedding.admission import CostlyWork
from serve_app.embedding.rate_gate import RateGate, duration
from tests.conftest import new_organisation
from tests.serve_app.conftest import MODEL, Server, bearer
from tests.waiting import LONGEST_WAIT_S

LIMITS = ("requests", "tokens")


@pytest.fixture(scope="module")
def database(keyed_server: Server) -> Iterator[ConnectionPool]:
    """Connections to the database of the server with keys."""
    pool = open_pool(keyed_server.service.settings, access=OWNER)
    yield pool
    pool.close()


@contextmanager
def client_of(server: Server, pool: ConnectionPool, organisation: str, new: NewKey) -> Iterator[httpx.Client]:
    """A client with a new key of the organisation."""
    with pool.connection() as connection:
        text = create_key(connection, organisation, new).text
    with httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S, headers=bearer(text)) as client:
        yield client


def embedding(client: httpx.Client, words: int = 1) -> httpx.Response:
    """The answer to a request that needs ``words`` + 2 tokens."""
    return client.post("/v1/embeddings", json={"model": MODEL, "input": " ".join(["word"] * words)})


def test_the_request_over_a_small_rate_is_refused_with_openais_headers(
    keyed_server: Server, database: ConnectionPool
) -> None:
    new = NewKey(name="three", requests_per_minute=3, tokens_per_minute=1_000)
    with client_of(keyed_server, database, new_organisation(database), new) as client:
        assert client.get("/v1/models").headers["x-ratelimit-remaining-tokens"] == "1000"
        first, second, refused = (embedding(client, 8) for _ in range(3))
        assert [answer.status_code for answer in (first, second, refused)] == [200, 200, 429]
        shown = [
            [
                answer.headers[f"x-ratelimit-{what}-{unit}"]
                for what in ("limit", "remaining")
                for unit in LIMITS
            ]
            for answer in (first, second, refused)
        ]
        assert shown == [["3", "1000", "1", "990"], ["3", "1000", "0", "980"], ["3", "1000", "0", "980"]]
        for unit in LIMITS:
            assert re.fullmatch(r"(1m0s|\d\d(\.\d+)?s)", refused.headers[f"x-ratelimit-reset-{unit}"])
        assert 50 <= int(refused.headers["retry-after"]) <= 60
        error = refused.json()["error"]
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "limit 3 (requests_per_minute), remaining 0, requested 1" in error["message"]


def test_tokens_of_all_keys_count_for_the_organisation(
    keyed_server: Server, database: ConnectionPool, operator: httpx.Client
) -> None:
    owner = new_organisation(database)
    changed = operator.post(f"/v1/organisations/{owner}", json={"tokens_per_minute": 50})
    assert changed.json()["tokens_per_minute"] == 50
    one = client_of(keyed_server, database, owner, NewKey(name="one"))
    other = client_of(keyed_server, database, owner, NewKey(name="other", tokens_per_minute=40))
    with one as first, other as second:
        assert embedding(first, 18).headers["x-ratelimit-remaining-tokens"] == "30"
        assert embedding(second, 18).headers["x-ratelimit-remaining-tokens"] == "10"
        refused = embedding(first, 18)
        assert refused.status_code == 429
        assert f"organisation {owner}: limit 50 (tokens_per_minute)" in refused.json()["error"]["message"]
        assert embedding(first, 8).status_code == 200, "what remains can be used up to the last token"
        assert embedding(first).headers["x-ratelimit-remaining-tokens"] == "0"
        headers = {"openai-organization": owner}
        answer = operator.post("/v1/embeddings", json={"model": MODEL, "input": "a"}, headers=headers)
        assert answer.status_code == 200, "the operator has no rates"
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]


def test_a_request_above_the_whole_limit_is_refused_for_good(
    keyed_server: Server, database: ConnectionPool
) -> None:
    owner, new = new_organisation(database), NewKey(name="small", tokens_per_minute=20)
    with client_of(keyed_server, database, owner, new) as client:
        refused = embedding(client, 40)
        assert (refused.status_code, "retry-after" in refused.headers) == (400, False)
        assert "has 42 tokens" in refused.json()["error"]["message"]
        assert embedding(client, 18).status_code == 200


def test_openais_client_reads_the_headers(keyed_server: Server, database: ConnectionPool) -> None:
    with database.connection() as connection:
        new = NewKey(name="openai", requests_per_minute=60)
        text = create_key(connection, new_organisation(database), new).text
    with OpenAI(base_url=f"{keyed_server.url}/v1", api_key=text, max_retries=0) as client:
        raw = client.embeddings.with_raw_response.create(model=MODEL, input="a")
    assert (raw.headers["x-ratelimit-limit-requests"], raw.headers["x-ratelimit-remaining-requests"]) == (
        "60",
        "59",
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.0171, "18ms"), (1, "1s"), (8.64, "8.64s"), (60, "1m0s"), (361.5, "6m1.5s")],
)
def test_durations_are_written_as_openai_writes_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_callers_without_rates_pass_no_gate(server: Server, http: httpx.Client) -> None:
    answer = embedding(http)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    assert not server.service.rates._rates._rates


def test_vectors_over_the_quota_of_a_key_are_refused_and_nothing_is_stored(
    keyed_server: Server, database: ConnectionPool
) -> None:
    new = NewKey(name="vectors", vectors_limit=3)
    with client_of(keyed_server, database, new_organisation(database), new) as client:
        store = client.post("/v1/vector_stores", json={"embedding_model": "none", "dimensions": 3}).json()[
            "id"
        ]

        def insert(*ids: str) -> httpx.Response:
            rows = [{"id": id, "vector": [1, 0, 0]} for id in ids]
            return client.post(f"/v1/vector_stores/{store}/vectors", json={"vectors": rows})

        assert insert("a", "b").status_code == 200
        refused = insert("c", "d")
        error = refused.json()["error"]
        assert (refused.status_code, error["type"], error["code"]) == (
            429,
            "insufficient_quota",
            "insufficient_quota",
        )
        assert "stores 2 vectors of at most 3 (vectors_limit), and this would add 2" in error["message"]
        assert insert("a", "b", "c").json()["written"] == 1, "rows that exist need no room"


async def test_the_tokens_of_the_longest_possible_answer_count_for_the_rate() -> None:
    rates = Rates(name="k", owner="the API key k", requests=None, tokens=10)
    caller = Caller(kind=CallerKind.KEY, id="k", organisation="o", rates=(rates,))
    gate = RateGate(LeasedRates(lambda: pytest.fail("no rate may be asked for")))
    work = CostlyWork(
        caller=caller,
        organisation="o",
        kind=CHAT_INPUT,
        model="m",
        tokens=5,
        output_tokens=6,
        source=UsageSource.CHAT,
    )
    with pytest.raises(InvalidInput, match="the request has 11 tokens"):
        await gate.admit(work)
