"""The engine over TCP: order, checks, retries, errors, usage and cost. Postgres is real."""

import json
import math
import os
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from uuid import uuid4

import numpy as np
import openai
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool
from pydantic import SecretStr

from cluster.engines import ProviderEngine
from cluster.engines.openai import requests
from cluster.engines.openai.accounts import OPENAI_URL
from cluster.engines.openai.answers import BadAnswer
from cluster.engines.openai.engine import OpenAIEngine, request_limits
from cluster.engines.openai.errors import TRANSLATED, remaining, retry_after_s
from cluster.engines.openai.kind import OpenAIKind
from cluster.errors import (
    ClusterError,
    InvalidInput,
    Misconfigured,
    ProviderUnavailable,
    Throttled,
    Unavailable,
)
from cluster.retrying import Backoff
from cluster.secrets import Secret, open_cipher
from cluster.secrets.provider_keys import set_key
from cluster.settings import Settings
from cluster.settings.models import ModelOptions
from tests.cluster.engines.openai.remote_models import KEY, KEY_ENV, remote_engine, remote_entry
from tests.keys_in_output import marked_fernet_key, marked_key
from tests.simulators.openai import Fault, Limits, Provider, Server, simulator, vector_of
from tests.simulators.openai.faults import Faults

TEXTS = ["Herons stand still.", "", "北京市的天气 🙂", "  two  spaces\n\n", "naïve café"]


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The operator's key, and short waits between retries."""
    monkeypatch.setenv(KEY_ENV, KEY)
    monkeypatch.setattr(requests, "BACKOFF", Backoff(first_s=0.01, longest_s=0.02, jitter=True))
    yield
    while OPEN:
        OPEN.pop().close()


@pytest.fixture
def server() -> Iterator[Server]:
    """A simulator that knows the operator's key only."""
    with simulator(Provider(keys={KEY})) as server:
        yield server


OPEN: list[OpenAIEngine] = []


def engine_for(settings: Settings, server: Server, **options: Any) -> OpenAIEngine:
    """An engine whose breaker and budget no other test uses. The end of the test closes it."""
    OPEN.append(remote_engine(settings, server, name=f"remote-{uuid4().hex[:8]}", **options))
    return OPEN[-1]


def usage(connection: Connection[Any], organisation: str) -> list[Any]:
    """The organisation's events."""
    return connection.execute(
        "SELECT kind, source, quantity, cost FROM usage_events WHERE organisation = %s", [organisation]
    ).fetchall()


def test_each_text_gets_its_own_vector(settings: Settings, pool: ConnectionPool, server: Server) -> None:
    engine = engine_for(settings, server)
    assert isinstance(engine, ProviderEngine)
    expected = [vector_of(text or " ", 1_536) for text in TEXTS]
    for fault in (None, Fault.SHUFFLED, Fault.FLOATS, Fault.LONG, Fault.SLOW, Fault.NO_USAGE):
        server.faults = Faults([fault])
        np.testing.assert_allclose(engine.embed(TEXTS).vectors, expected, atol=1e-6)
    assert [texts for _, _, texts, _ in server.provider.accepted] == [[text or " " for text in TEXTS]] * 6
    assert server.provider.complaints == []


def test_a_shorter_vector_is_asked_for_only_if_it_is_shorter(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    assert engine_for(settings, server, dimensions=512).embed(["a"]).vectors.shape == (1, 512)
    ada = engine_for(settings, server, source="openai:text-embedding-ada-002", dimensions=1_536)
    assert ada.embed(["a"]).vectors.shape == (1, 1_536)


def test_many_inputs_are_sent_in_requests_within_the_limits(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    engine = engine_for(settings, server)
    texts = [f"text {number}" for number in range(2_500)]
    vectors = engine.embed(texts).vectors
    sizes = sorted(len(texts) for _, _, texts, _ in server.provider.accepted)
    assert sizes == [452, 2_048]
    np.testing.assert_allclose(vectors[2_400], vector_of("text 2400", 1_536), atol=1e-6)
    server.provider.accepted.clear()
    engine.embed_ids([np.full(8_000, 5, np.int32)] * 7)
    assert sorted(len(texts) for _, _, texts, _ in server.provider.accepted) == [1, 6]


@pytest.mark.parametrize(
    "fault", [Fault.BUSY, Fault.BUSY_WITH_MILLISECONDS, Fault.UNAVAILABLE, Fault.LOST, Fault.RESET, Fault.NAN]
)
def test_a_fault_that_passes_is_retried_and_billed_once(
    settings: Settings,
    pool: ConnectionPool,
    server: Server,
    organisation: str,
    connection: Connection[Any],
    fault: Fault,
) -> None:
    engine = engine_for(settings, server, price_per_million_tokens=0.02)
    server.faults = Faults([fault] * 5)
    ids = engine.tokeniser.ids(TEXTS[:1])
    vectors = engine.embed_ids(ids, organisation=organisation)
    np.testing.assert_allclose(vectors[0], vector_of(TEXTS[0], 1_536), atol=1e-6)
    answers = 6 if fault == Fault.NAN else 1  # an answer without use is an answer, and is billed
    tokens = len(ids[0])
    expected = ("provider_embedding", "provider", tokens, Decimal("0.02") * tokens / 1_000_000)
    assert usage(connection, organisation) == [expected] * answers
    assert server.provider.answered_tokens[KEY] == tokens * answers


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.BUSY, Throttled),
        (Fault.UNAVAILABLE, ProviderUnavailable),
        (Fault.RESET, ProviderUnavailable),
        (Fault.NAN, BadAnswer),
        (Fault.MISSING, BadAnswer),
        (Fault.TWICE, BadAnswer),
    ],
)
def test_after_five_retries_the_caller_gets_the_error(
    settings: Settings, pool: ConnectionPool, server: Server, fault: Fault, error: type[ClusterError]
) -> None:
    engine = engine_for(settings, server)
    server.faults = Faults([fault] * 6)
    with pytest.raises(error) as raised:
        engine.embed_ids(engine.tokeniser.ids(["a", "b"]))
    assert server.faults.next() is None
    if not isinstance(raised.value, BadAnswer):
        assert raised.value.retry_after_s == requests.AWAY_S  # type: ignore[attr-defined]


def test_a_long_pause_is_the_callers(
    settings: Settings, pool: ConnectionPool, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = engine_for(settings, server, requests_per_minute=1_000)
    monkeypatch.setattr(requests, "LONGEST_PAUSE_S", 0.5)
    server.faults = Faults([Fault.BUSY_WITH_RETRY_AFTER])
    begun = time.monotonic()
    with pytest.raises(Throttled) as raised:
        engine.embed(["a"])
    assert raised.value.retry_after_s == 1.0
    engine.embed(["a"])  # the whole cluster observes the pause
    assert time.monotonic() - begun > 0.95
    assert len(server.provider.accepted) == 1


@pytest.mark.parametrize("fault", [Fault.NO_MONEY, Fault.WRONG_DIMENSION])
def test_what_an_operator_must_mend_is_not_retried(
    settings: Settings, pool: ConnectionPool, server: Server, fault: Fault
) -> None:
    engine = engine_for(settings, server)
    server.faults = Faults([fault, Fault.RESET])
    message = "money or quota" if fault == Fault.NO_MONEY else "dimensions"
    with pytest.raises(Misconfigured, match=message):
        engine.embed(["a"])
    assert server.faults.next() == Fault.RESET


def test_a_refused_key_is_named_and_never_shown(
    settings: Settings,
    pool: ConnectionPool,
    server: Server,
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = marked_key("sk-wrong-")
    monkeypatch.setenv(KEY_ENV, wrong)
    engine = engine_for(settings, server)
    with pytest.raises(Misconfigured, match=KEY_ENV) as raised:
        engine.embed_ids(engine.tokeniser.ids(["a"]), organisation=organisation)
    error = raised.value
    assert "valid key" in str(error)
    while error is not None:
        assert wrong not in repr(error) + str(error) + json.dumps(str(vars(error)))
        error = error.__cause__  # type: ignore[assignment]
    monkeypatch.delenv(KEY_ENV)
    with pytest.raises(Misconfigured, match=f"{KEY_ENV} is not set"):
        engine_for(settings, server).embed(["a"])
    assert server.provider.accepted == []


def test_an_organisation_pays_with_its_own_key(
    settings: Settings, pool: ConnectionPool, organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = marked_key("sk-own-")
    settings = settings.model_copy(update={"secret_key": SecretStr(marked_fernet_key())})
    with simulator(Provider(keys={KEY, own})) as server:
        engine = engine_for(settings, server)
        port = server.server_address[1]
        cipher = open_cipher(settings.secret_key)
        with pool.connection() as connection:
            set_key(connection, cipher, organisation, f"openai-127-0-0-1-{port}", Secret(own))
        engine.embed_ids(engine.tokeniser.ids(["theirs"]), organisation=organisation)
        engine.embed(["ours"])
        assert [(key, texts) for _, key, texts, _ in server.provider.accepted] == [
            (own, ["theirs"]),
            (KEY, ["ours"]),
        ]
        server.provider.keys = {KEY}
        with pytest.raises(Misconfigured, match=f"the key of organisation {organisation}"):
            engine.embed_ids(engine.tokeniser.ids(["theirs"]), organisation=organisation)


def test_an_unknown_model_and_a_refused_input_are_named(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    unknown = engine_for(settings, server, source="openai:text-embedding-4", dimensions=8)
    with pytest.raises(Misconfigured, match=r"404.*text-embedding-4"):
        unknown.embed(["a"])
    server.provider.models["small"] = 4
    engine = engine_for(settings, server, source="openai:small", dimensions=4)
    with pytest.raises(InvalidInput, match="input 1 "):
        engine.embed_ids([np.array([5], np.int32), np.full(8_192, 5, np.int32)])


def test_the_breaker_stops_calls_to_a_provider_that_is_away(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    engine = engine_for(settings, server)
    server.faults = Faults(chances={Fault.UNAVAILABLE: 1.0})
    for _ in range(2):
        with pytest.raises(ProviderUnavailable) as raised:
            engine.embed(["a"])
    assert "no call is sent" in str(raised.value)
    server.faults = Faults()
    with pytest.raises(ProviderUnavailable, match="no call is sent"):
        engine.embed(["a"])
    assert server.provider.accepted == []


def test_a_lost_postgres_is_not_taken_for_the_provider(
    settings: Settings, pool: ConnectionPool, server: Server
) -> None:
    engine = engine_for(settings, server)
    engine.embed(["a"])
    own = engine._requests
    assert own is not None
    own._pool.close()
    engine.embed(["b"])  # the breaker was closed a moment ago, and the answer does not need Postgres
    own._breaker._closed_until = 0.0
    with pytest.raises(Unavailable, match=r"^database: ") as raised:
        engine.embed(["c"])
    assert not isinstance(raised.value, ProviderUnavailable)
    assert [texts for _, _, texts, _ in server.provider.accepted] == [["a"], ["b"]]


def test_an_answer_is_kept_if_postgres_is_lost_meanwhile(settings: Settings, pool: ConnectionPool) -> None:
    with simulator(Provider(limits=Limits(tokens=20))) as server:
        engine = engine_for(settings, server, tokens_per_minute=1_000_000)
        engine.embed([""])
        own = engine._requests
        assert own is not None
        pools = own._pool
        server.observe = lambda _: pools.close()
        text = "A heron stands still for hours, and strikes at once."
        np.testing.assert_allclose(engine.embed([text]).vectors, [vector_of(text, 1_536)], atol=1e-6)
        assert len(server.provider.accepted) == 2


def test_the_budget_is_never_exceeded_and_mostly_used(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    limits = Limits(requests=3_000, tokens=60_000)
    with simulator(Provider(limits=limits), latency_s=0.02) as server:
        engine = engine_for(settings, server, requests_per_minute=3_000, tokens_per_minute=60_000)
        # A request is a fortieth of the budget.
        assert engine.limits.tokens == 1_500
        ids = [np.full(500, 5, np.int32)] * 6
        vectors = engine.embed_ids(ids, organisation=organisation)
        assert vectors.shape == (6, 1_536)
        assert server.provider.over_limit == 0


def test_the_budget_counts_the_tokens_that_the_provider_counts(
    settings: Settings, pool: ConnectionPool, organisation: str
) -> None:
    limits = Limits(requests=100, tokens=60)
    with simulator(Provider(limits=limits)) as server:
        engine = engine_for(settings, server, requests_per_minute=100, tokens_per_minute=60)
        special = np.full(10, 100_257, np.int32)  # <|endoftext|>, which the provider reads as ordinary text
        with pytest.raises(InvalidInput, match="a call needs 61 tokens"):
            engine.embed_ids([special], organisation=organisation)
        assert server.provider.over_limit == 0


@pytest.mark.parametrize(
    ("permitted", "tokens", "size"),
    [
        (None, None, 50_000),
        (None, 1_000_000, 25_000),
        (3_000, 1_000_000, 25_000),
        (500, 40_000_000, 300_000),
        (100, 40_000, 2_000),
        (10, 40_000, 8_000),
        (3, 40_000, 20_000),
        (1, 40_000, 40_000),
    ],
)
def test_full_requests_use_up_the_tokens_of_a_minute(
    permitted: int | None, tokens: int | None, size: int
) -> None:
    limits = request_limits(ModelOptions(requests_per_minute=permitted, tokens_per_minute=tokens))

    assert limits.tokens == size
    assert limits.least_tokens <= size
    if permitted is not None and tokens is not None:  # half as many full requests as permitted suffice
        assert tokens / size <= math.ceil(permitted / 2)


@pytest.mark.skipif("OPENAI_API_KEY" not in os.environ, reason="asks the live service; set OPENAI_API_KEY")
def test_the_live_service_answers_as_the_simulator_does(settings: Settings, pool: ConnectionPool) -> None:
    engine = OpenAIKind().open_engine(
        remote_entry(settings, OPENAI_URL, key_env="OPENAI_API_KEY", dimensions=256, max_tokens=100)
    )
    assert isinstance(engine, OpenAIEngine)
    OPEN.append(engine)
    near, same, far = engine.embed(["a heron", "a heron", "quarterly report"]).vectors
    assert near.shape == (256,)
    assert near @ same > 0.999 > near @ far


def test_headers_of_the_provider_are_read() -> None:
    assert retry_after_s({"retry-after-ms": "250", "retry-after": "9"}) == 0.25
    assert retry_after_s({"retry-after": "9"}) == 9
    assert 0 < (retry_after_s({"retry-after": "Fri, 31 Dec 2100 23:59:59 GMT"}) or 0) <= 86_400
    assert retry_after_s({"retry-after": "soon"}) is retry_after_s({}) is None
    assert retry_after_s({"retry-after": "nan"}) is retry_after_s({"retry-after-ms": "nan"}) is None
    assert retry_after_s({"retry-after-ms": "1e400"}) == 86_400
    headers = {
        "x-ratelimit-remaining-tokens": "149984",
        "x-ratelimit-reset-tokens": "1m6.5s",
        "x-ratelimit-remaining-requests": "59",
        "x-ratelimit-reset-requests": "6ms",
    }
    assert remaining(headers) == ({"requests": 59, "tokens": 149_984}, {"requests": 0.006, "tokens": 66.5})
    assert remaining(headers | {"x-ratelimit-remaining-tokens": "9" * 5_000})[0] == {"requests": 59}


def test_every_error_of_the_client_is_translated() -> None:
    unused = {
        "LengthFinishReasonError",
        "ContentFilterFinishReasonError",
        "InvalidWebhookSignatureError",
        "WebSocketConnectionClosedError",
        "WebSocketQueueFullError",
        "SubjectTokenProviderError",
        "OAuthError",
    }
    known = {one.__name__ for one in TRANSLATED} | unused
    found = {
        name
        for name, one in vars(openai._exceptions).items()
        if isinstance(one, type) and issubclass(one, Exception) and one.__module__.startswith("openai")
    }
    assert found - known == set()
