"""Usage and costs over HTTP, in the shapes that OpenAI's client reads, and with every dimension."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openai import BadRequestError, OpenAI
from psycopg_pool import ConnectionPool

from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings
from cluster.usage.events import REQUEST, UsageEvent, UsageSource, record_usage
from cluster.usage.prices import UsagePrice, set_price
from tests.serve_app.conftest import Server

#: Noon of a day long ago, in which no other test uses anything.
NOON = datetime(2025, 5, 5, 12, tzinfo=UTC)
DAY = int(timedelta(days=1).total_seconds())
MIDNIGHT = int(NOON.timestamp()) - DAY // 2


@pytest.fixture(scope="module", autouse=True)
def used(server: Server, settings: Settings, pool: ConnectionPool) -> None:
    """Usage of two days: embeddings with two keys, a reranking, pages, and a provider."""
    owner = settings.organisation
    common: dict[str, Any] = {"organisation": owner, "source": UsageSource.HTTP}
    later = NOON + timedelta(days=2)
    events = [
        UsageEvent(**common, id="u1", model="m", quantity=100, key="key_1", at=NOON),
        UsageEvent(**common, id="u2", model="m", quantity=20, key="key_2", at=NOON),
        UsageEvent(**common, id="u3", model="n", quantity=3, at=NOON + timedelta(minutes=5)),
        UsageEvent(**common, id="u4", model="m", quantity=2, kind=REQUEST, key="key_1", at=NOON),
        UsageEvent(**common, id="u5", model="ranker", quantity=1, kind=REQUEST, key="key_1", at=NOON),
        UsageEvent(**common, id="u6", model="ranker", quantity=50, kind="reranking", at=NOON),
        UsageEvent(**common, id="u7", model=None, quantity=7, kind="page", agent="agent_1", at=later),
        UsageEvent(
            **common, id="u8", model="n", quantity=3, kind="provider_embedding", cost=Decimal("0.25"), at=NOON
        ),
    ]
    prices = [("embedding", "m", "0.001"), ("page", None, "0.1")]
    with pool.connection() as connection:
        ensure_organisation(connection, owner)
        record_usage(connection, events)
        for kind, model, price in prices:
            start = NOON - timedelta(days=1)
            new = UsagePrice(
                kind=kind,
                model=model,
                price=Decimal(price),
                valid_from=start,
                valid_to=start + timedelta(days=9),
                organisation=owner,
            )
            set_price(connection, new, operator="system", retroactive=True)


@pytest.fixture(scope="module")
def openai(server: Server) -> Iterator[Any]:
    """The usage resource of OpenAI's client."""
    client = OpenAI(base_url=f"{server.url}/v1", api_key="none", admin_api_key="none", max_retries=0)
    with client:
        yield client.admin.organization.usage


def test_embeddings_in_openai_s_shape(openai: Any) -> None:
    page = openai.embeddings(start_time=MIDNIGHT, end_time=MIDNIGHT + 2 * DAY)
    first, second = page.data
    assert (page.object, page.has_more, page.next_page) == ("page", False, None)
    assert (first.start_time, first.end_time, first.object) == (MIDNIGHT, MIDNIGHT + DAY, "bucket")
    (result,) = first.results
    assert type(result).__name__ == "DataResultOrganizationUsageEmbeddingsResult"
    assert (result.input_tokens, result.num_model_requests) == (123, 2)
    assert (result.model, result.api_key_id) == (None, None)
    assert second.results == []


def test_embeddings_by_group_and_filter(openai: Any) -> None:
    def results(**options: Any) -> list[Any]:
        page = openai.embeddings(start_time=MIDNIGHT, end_time=MIDNIGHT + DAY, **options)
        return sorted(
            (r.model, r.api_key_id, r.input_tokens, r.num_model_requests) for r in page.data[0].results
        )

    assert results(group_by=["model"]) == [("m", None, 120, 2), ("n", None, 3, 0)]
    assert results(group_by=["model", "api_key_id"], models=["m"]) == [
        ("m", "key_1", 100, 2),
        ("m", "key_2", 20, 0),
    ]
    assert results(api_key_ids=["key_2"]) == [(None, None, 20, 0)]
    assert results(group_by=["project_id", "user_id"]) == [(None, None, 123, 2)]
    with pytest.raises(BadRequestError, match="no projects"):
        results(project_ids=["proj_1"])


def test_buckets_come_in_pages(openai: Any) -> None:
    noon = int(NOON.timestamp())
    asked: dict[str, Any] = {
        "start_time": noon + 30,
        "end_time": noon + 600,
        "bucket_width": "1m",
        "limit": 4,
    }
    page, starts, tokens = None, [], []
    while True:
        found = openai.embeddings(**asked, **({"page": page} if page else {}))
        starts += [bucket.start_time for bucket in found.data]
        tokens += [bucket.results[0].input_tokens for bucket in found.data if bucket.results]
        page = found.next_page
        if not found.has_more:
            break
    assert starts == [noon + 60 * minute for minute in range(10)]
    assert tokens == [120, 3]
    for wrong in ("page_1", "page_", str(noon), f"page_{noon + 1}"):
        with pytest.raises(BadRequestError, match="next_page"):
            openai.embeddings(**asked, page=wrong)


def test_costs_in_openai_s_shape(openai: Any) -> None:
    page = openai.costs(start_time=MIDNIGHT, end_time=MIDNIGHT + 3 * DAY)
    amounts = [[result.amount.value for result in bucket.results] for bucket in page.data]
    assert amounts == [[0.37], [], [0.7]]
    assert page.data[0].results[0].amount.currency == "usd"
    page = openai.costs(
        start_time=MIDNIGHT, end_time=MIDNIGHT + 3 * DAY, group_by=["line_item", "api_key_id"]
    )
    found = {
        (r.line_item, r.api_key_id, r.amount.value, r.quantity, r.quantity_unit)
        for bucket in page.data
        for r in bucket.results
    }
    assert found == {
        ("m, embedding", "key_1", 0.1, 100.0, "tokens"),
        ("m, embedding", "key_2", 0.02, 20.0, "tokens"),
        ("n, provider_embedding", None, 0.25, 3.0, "tokens"),
        ("page", None, 0.7, 7.0, "pages"),
    }
    page = openai.costs(start_time=MIDNIGHT, end_time=MIDNIGHT + DAY, line_items=["m, embedding"])
    assert page.data[0].results[0].amount.value == 0.12


def test_usage_has_every_dimension(http: httpx.Client) -> None:
    dimensions = ["model", "source", "api_key_id", "agent_id"]
    asked = {"start_time": MIDNIGHT, "end_time": MIDNIGHT + 3 * DAY, "group_by": dimensions}
    data = http.get("/v1/usage", params=asked).json()["data"]
    assert len(data[0]["results"]) == 7
    assert data[2]["results"] == [
        {
            "object": "usage.result",
            "kind": "page",
            "unit": "pages",
            "quantity": 7,
            "cost": "0.7",
            "events": 1,
            "model": None,
            "source": "http",
            "api_key_id": None,
            "agent_id": "agent_1",
        }
    ]
    asked = {"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY, "kinds[]": ["embedding", "reranking"]}
    (bucket,) = http.get("/v1/usage", params=asked).json()["data"]
    found = [(result["kind"], result["quantity"], result["cost"]) for result in bucket["results"]]
    assert found == [("embedding", 123, "0.12"), ("reranking", 50, None)]


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"start_time": None}, "start_time"),
        ({"start_time": -1}, "start_time"),
        ({"end_time": MIDNIGHT}, "end_time"),
        ({"end_time": 10**15}, "end_time"),
        ({"bucket_width": "1w"}, "bucket_width"),
        ({"limit": 32}, "limit"),
        ({"limit": 0}, "limit"),
        ({"group_by": "color"}, "group_by"),
        ({"kinds[]": "color"}, "kinds[]"),
        ({"models": ["m"] * 101}, "models"),
    ],
)
def test_wrong_questions_are_refused(http: httpx.Client, change: dict[str, Any], param: str) -> None:
    params = {"start_time": MIDNIGHT, "end_time": MIDNIGHT + DAY} | change
    answer = http.get(
        "/v1/usage", params={name: value for name, value in params.items() if value is not None}
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"].startswith(param)
