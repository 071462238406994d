"""Profiles and segments over HTTP: values with evidence, members by a filter, and an export as Parquet."""

import io
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pyarrow.parquet as pq
import pytest
from psycopg_pool import ConnectionPool

from cluster.platform_data.ids import row_id
from cluster.profiles.profiles import PartVersion, ProfileValue, write_part
from cluster.profiles.selection import Selection
from tests.serve_app.conftest import Server

PART = PartVersion(part="behaviour", version="behaviour-1")
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def colour(http: httpx.Client, server: Server, pool: ConnectionPool) -> str:
    """A word that only the profiles of three customers of this module have; they have 0, 1 and 2 sessions."""
    word, organisation = f"red {uuid4().hex}", server.service.settings.organisation
    rows = {}
    for number in range(3):
        external = f"{word} {number}"
        assert http.post("/v1/customers", json={"external_id": external}).status_code == 200
        rows[row_id("cust", organisation, external)] = {
            "colour": ProfileValue(value=word, n=1),
            "sessions": ProfileValue(value=number, n=9, evidence=["/shop#7", "msg_1"]),
            "lapsing": ProfileValue(value=number > 1, n=4),
            "hours_of_week": ProfileValue(value={"3": 2}, n=2),
            "recency_days": ProfileValue(value=None, n=0, reason="insufficient_data"),
        }
    with pool.connection() as connection:
        written = write_part(connection, Selection(organisation=organisation, as_of=AS_OF), PART, rows)
    assert written == 3
    return word


def new_segment(http: httpx.Client, *conditions: tuple[str, str, object]) -> str:
    filters = [{"type": type, "key": key, "value": value} for type, key, value in conditions]
    body = {"name": uuid4().hex, "filters": {"type": "and", "filters": filters}}
    return str(http.post("/v1/segments", json=body).json()["id"])


def test_a_profile_shows_each_value_with_its_cases_and_its_evidence(http: httpx.Client, colour: str) -> None:
    customer = http.get("/v1/customers", params={"external_id": f"{colour} 2"}).json()["data"][0]["id"]
    profile = http.get(f"/v1/customers/{customer}/profile").json()
    part = profile["parts"]["behaviour"]
    assert (profile["id"], profile["external_id"]) == (customer, f"{colour} 2")
    assert (part["version"], part["as_of"]) == ("behaviour-1", int(AS_OF.timestamp()))
    assert part["values"]["sessions"] == {"value": 2, "n": 9, "evidence": ["/shop#7", "msg_1"]}
    assert part["values"]["hours_of_week"]["value"] == {"3": 2}
    assert part["values"]["recency_days"]["reason"] == "insufficient_data"


def test_a_customer_without_a_profile_is_not_found(http: httpx.Client) -> None:
    customer = http.post("/v1/customers", json={"external_id": uuid4().hex}).json()["id"]
    answers = [http.get(f"/v1/customers/{id}/profile") for id in (customer, "cust_none")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert "has no profile" in answers[0].json()["error"]["message"]
    assert "there is no customer" in answers[1].json()["error"]["message"]


def test_a_segment_has_the_customers_whose_values_pass_its_filter(http: httpx.Client, colour: str) -> None:
    segment = new_segment(http, ("eq", "colour", colour), ("gte", "sessions", 1))
    assert http.get(f"/v1/segments/{segment}").json()["customers"] == 2
    path = f"/v1/segments/{segment}/customers"
    first = http.get(path, params={"limit": 1, "order": "asc"}).json()
    second = http.get(path, params={"limit": 1, "order": "asc", "after": first["last_id"]}).json()
    found = [page["data"][0]["external_id"] for page in (first, second)]
    assert (found, first["has_more"], second["has_more"]) == ([f"{colour} 1", f"{colour} 2"], True, False)
    everybody = http.get("/v1/segments/all/customers", params={"limit": 100}).json()["data"]
    assert {f"{colour} {number}" for number in range(3)} <= {one["external_id"] for one in everybody}
    assert segment in [one["id"] for one in http.get("/v1/segments", params={"limit": 100}).json()["data"]]
    assert http.delete(f"/v1/segments/{segment}").json()["deleted"] is True
    assert http.get(path).status_code == http.delete(f"/v1/segments/{segment}").status_code == 404


def test_an_export_has_a_row_for_each_customer_and_a_column_for_each_value(
    http: httpx.Client, colour: str
) -> None:
    segment = new_segment(http, ("eq", "colour", colour))
    answer = http.get(f"/v1/segments/{segment}/export")
    assert answer.headers["content-type"] == "application/vnd.apache.parquet"
    table = pq.read_table(io.BytesIO(answer.content))
    assert {field.name: str(field.type) for field in table.schema} == {
        "customer": "string",
        "external_id": "string",
        "computed_at": "timestamp[us, tz=UTC]",
        "colour": "string",
        "lapsing": "bool",
        "sessions": "double",
    }
    rows = sorted(table.to_pylist(), key=lambda row: row["external_id"])
    assert [(row["sessions"], row["lapsing"]) for row in rows] == [(0.0, False), (1.0, False), (2.0, True)]
    nobody = new_segment(http, ("eq", "colour", "none"))
    assert pq.read_table(io.BytesIO(http.get(f"/v1/segments/{nobody}/export").content)).num_rows == 0


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"name": "x", "filters": {"type": "near", "key": "a", "value": 1}}, 400, "filters.type"),
        ({"name": "x"}, 400, "filters"),
        ({"name": "x", "filters": {}, "filter": {}}, 400, "filter"),
        ({"name": "all", "filters": {"type": "eq", "key": "a", "value": 1}}, 409, "choose another name"),
    ],
)
def test_a_wrong_segment_is_refused(
    http: httpx.Client, body: dict[str, object], status: int, words: str
) -> None:
    answer = http.post("/v1/segments", json=body)
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]


def test_two_segments_never_have_one_name(http: httpx.Client) -> None:
    body = {"name": uuid4().hex, "filters": {"type": "eq", "key": "a", "value": 1}}
    answers = [http.post("/v1/segments", json=body).status_code for _ in range(2)]
    assert answers == [200, 409]
    assert http.delete("/v1/segments/all").status_code == 409
