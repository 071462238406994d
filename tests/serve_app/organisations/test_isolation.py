"""An organisation cannot list, read, search, change, follow or guess anything of another organisation.

Each operation of the OpenAPI document is sent by the other organisation with the victim's ids in its path,
body, query and cursors. A new route is in the document, so the test cannot miss it. Each test runs twice:
with the conditions of the queries, and without them, by row-level security alone.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from psycopg import Connection, Cursor
from psycopg.sql import SQL, Composable, Identifier
from psycopg_pool import ConnectionPool

from cluster.database import open_pool
from cluster.database.row_access import OWNER, current_access
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.organisation_deletion import owner_columns
from cluster.documents.vector_stores.stores import get_store
from cluster.profiles.profiles import PartVersion, ProfileValue, write_part
from cluster.profiles.selection import Selection
from cluster.webhooks.deliveries import record_event
from tests.cluster.oidc.issuer import Issuer
from tests.conftest import new_organisation
from tests.indexed_files import process
from tests.serve_app.conftest import MODEL, Server, bearer
from tests.serve_app.organisations.operations import (
    CURSORS,
    PLAIN_PARAMETERS,
    Operation,
    ask,
    operations,
    refused,
    tool_call,
)
from tests.waiting import LONGEST_WAIT_S, until

#: A word that only the victim's document has.
SECRET = "zyzzogeton"
STORE_NAME = "the victims store"
#: Path parameters that do not name a thing of an organisation.
SHARED_PARAMETERS = {"model", "deployment", "page_number"}
ALL_SCOPES = ["read", "write", "admin"]
#: A request of a batch.
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/embeddings", "body": {"model": "m", "input": "a"}}'


#: The condition with which a statement names its organisation.
OF_ORGANISATION = re.compile(r"(?:\w+\.)?\borganisation = %\(organisation\)s")


class Everything:
    """The things of one organisation, made over HTTP, and a client with a key of the organisation."""

    def __init__(self, server: Server, pool: ConnectionPool, operator: httpx.Client) -> None:
        self.organisation = new_organisation(pool)
        made = operator.post(
            "/v1/organisation/keys",
            json={"name": "all", "scopes": ALL_SCOPES},
            headers={"openai-organization": self.organisation},
        ).json()
        self.client = httpx.Client(base_url=server.url, timeout=LONGEST_WAIT_S, headers=bearer(made["key"]))
        self.ids: dict[str, str] = {
            "organisation_id": self.organisation,
            "key_id": made["id"],
            "model": MODEL,
            "page_number": "1",
            "query": f"which word is {SECRET[:5]}",
        }

    def make(self, server: Server, pool: ConnectionPool) -> None:
        """Make one thing of each kind, and wait until the document is searchable."""
        post, ids = self.client.post, self.ids
        ids["vector_store_id"] = post("/v1/vector_stores", json={"name": STORE_NAME}).json()["id"]
        files = {"file": ("a.txt", SECRET.encode())}
        ids["file_id"] = post("/v1/files", files=files, data={"purpose": "assistants"}).json()["id"]
        batch = post(
            f"/v1/vector_stores/{ids['vector_store_id']}/file_batches", json={"file_ids": [ids["file_id"]]}
        )
        ids["file_batch"] = batch.json()["id"]
        with pool.connection() as connection:
            store = get_store(connection, self.organisation, ids["vector_store_id"])
            process(
                connection,
                open_chunk_index(server.service.settings, pool),
                store,
                ids["file_id"],
                [SECRET],
                embed=lambda texts: server.service.models.default.engine.embed(texts).vectors,
            )
        requests = post("/v1/files", files={"file": ("a.jsonl", LINE)}, data={"purpose": "batch"})
        ids["requests"] = requests.json()["id"]
        wish = {"endpoint": "/v1/embeddings", "completion_window": "24h", "input_file_id": ids["requests"]}
        ids["batch"] = post("/v1/batches", json=wish).json()["id"]
        announced = {"filename": "a.txt", "purpose": "assistants", "bytes": 9, "mime_type": "text/plain"}
        ids["upload_id"] = post("/v1/uploads", json=announced).json()["id"]
        part = post(f"/v1/uploads/{ids['upload_id']}/parts", files={"data": ("a", b"nine byte")})
        ids["part"] = part.json()["id"]
        hook = {"url": "https://example.com/victim", "event_types": ["job.failed"]}
        ids["webhook_endpoint_id"] = post("/v1/webhooks", json=hook).json()["id"]
        budget = {"unit": "tokens", "period": "day", "warn_at": 10**9, "name": STORE_NAME}
        ids["budget_id"] = post("/v1/budgets", json=budget).json()["id"]
        with pool.connection() as connection:
            event = record_event(connection, self.organisation, "job.failed", {"id": "job_1"})
        ids["event_id"] = str(event)
        said = {
            "conversation_id": f"of {self.organisation}",
            "agent_id": "bot",
            "role": "user",
            "text": SECRET,
        }
        event_of_customer = {
            "id": "1",
            "source": "/victim",
            "type": "message.created",
            "time": "2026-01-31T12:00:00Z",
            "subject": f"customer of {self.organisation}",
            "data": said,
        }
        answered = {"id": "2", "time": "2026-01-31T12:00:01Z", "data": {**said, "role": "assistant"}}
        events = [event_of_customer, event_of_customer | answered]
        assert post("/v1/events", json=events).json()["accepted"] == 2
        messages = ("/v1/conversations/{conversation_id}/messages", "message")
        lists = [(f"/v1/{name}s", f"{name}_id") for name in ("customer", "agent", "conversation")]
        for path, name in [*lists, messages]:
            ids[name] = self.client.get(path.format_map(ids)).json()["data"][0]["id"]
        ids["message_id"] = ids["message"]
        post(f"/v1/messages/{ids['message']}/feedback", json={"rating": "negative", "comment": SECRET})
        tools = [{"type": "file_search", "vector_store_ids": [ids["vector_store_id"]]}]
        asked = {"model": "extractive", "input": SECRET, "tools": tools}
        ids["response_id"] = post("/v1/responses", json=asked).json()["id"]
        segment = {"name": STORE_NAME, "filters": {"type": "eq", "key": "word", "value": SECRET}}
        ids["segment_id"] = post("/v1/segments", json=segment).json()["id"]
        now = datetime.now(UTC)
        with pool.connection() as connection:
            write_part(
                connection,
                Selection(organisation=self.organisation, as_of=now),
                PartVersion(part="behaviour", version="1"),
                {ids["customer_id"]: {"word": ProfileValue(value=SECRET, n=1)}},
            )
        ids["vector"] = "a"
        job = {"kind": "ingest_files", "input": {"vector_store_id": ids["vector_store_id"]}}
        ids["schedule_id"] = post("/v1/schedules", json={**job, "cron": "0 2 1 1 *"}).json()["id"]
        ids["run"] = post(f"/v1/schedules/{ids['schedule_id']}/run").json()["id"]
        site = {"url": "https://docs.test/", "vector_store_id": ids["vector_store_id"]}
        ids["crawl_id"] = post("/v1/crawls", json=site).json()["id"]
        ids["crawl_page"] = "page_of_the_victim"
        ids["usage_report_id"] = post("/v1/usage_reports", json={"period": "current"}).json()["id"]
        ids["job_id"] = self.client.get("/v1/jobs").json()["data"][0]["id"]
        ids["audit"] = self.client.get("/v1/organisation/audit_logs").json()["data"][0]["id"]
        until(lambda: self.client.get(f"/v1/budgets/{ids['budget_id']}").json()["used"], "0".__ne__)

    @property
    def marks(self) -> list[str]:
        """The texts that no other organisation may see."""
        shared = {*SHARED_PARAMETERS, "vector", "query"}
        return [SECRET, STORE_NAME, *(value for name, value in self.ids.items() if name not in shared)]


@pytest.fixture(scope="module")
def keyed_pool(keyed_server: Server) -> Iterator[ConnectionPool]:
    """Connections to the database of the server with keys."""
    pool = open_pool(keyed_server.service.settings, access=OWNER)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def victim(keyed_server: Server, keyed_pool: ConnectionPool, operator: httpx.Client) -> Iterator[Everything]:
    """The organisation that is attacked."""
    found = Everything(keyed_server, keyed_pool, operator)
    found.make(keyed_server, keyed_pool)
    yield found
    found.client.close()


@pytest.fixture(scope="module")
def other(keyed_server: Server, keyed_pool: ConnectionPool, operator: httpx.Client) -> Iterator[Everything]:
    """The organisation that attacks, with a store of its own."""
    found = Everything(keyed_server, keyed_pool, operator)
    found.ids["vector_store_id"] = found.client.post("/v1/vector_stores", json={}).json()["id"]
    yield found
    found.client.close()


@pytest.fixture(scope="module")
def by_token(other: Everything, issuer: Issuer) -> Iterator[httpx.Client]:
    """Requests of the attacker with a token in place of a key."""
    token = bearer(issuer.token(organisation=other.organisation))
    with httpx.Client(base_url=other.client.base_url, timeout=LONGEST_WAIT_S, headers=token) as client:
        yield client


@pytest.fixture(params=[False, True], ids=["by queries", "by row-level security alone"], autouse=True)
def forgetful(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """With True, every statement of a request forgets its organisation: ``organisation = ...`` becomes true.
    Returns how often each statement was changed.
    """
    changed: Counter[str] = Counter()
    if not request.param:
        yield changed
        return
    execute = Cursor.execute

    def forget(cursor: Cursor[Any], query: Any, *args: Any, **named: Any) -> Any:
        access = current_access()
        if access is not None and access.confined:
            text = query.as_string(cursor) if isinstance(query, Composable) else query
            query, count = OF_ORGANISATION.subn("true", text)
            changed[query] += count
        return execute(cursor, query, *args, **named)

    monkeypatch.setattr(Cursor, "execute", forget)
    yield changed
    assert any(changed.values())


def rows_of(connection: Connection[Any], organisation: str) -> dict[str, list[str]]:
    """Return every row of the organisation, as text."""
    found: dict[str, list[str]] = {}
    for column in owner_columns(connection):
        query = SQL("SELECT t::text FROM {} AS t WHERE {} = %s ORDER BY 1").format(
            Identifier(column.table), Identifier(column.column)
        )
        found[column.table] = [text for (text,) in connection.execute(query, [organisation])]
    return found


def guessed(ids: Mapping[str, str]) -> dict[str, str]:
    """Return ids of the same form that belong to no thing."""
    shared = {*SHARED_PARAMETERS, "query", "vector"}
    return {
        name: id if name in shared else id[:-1] + ("0" if id[-1] != "0" else "1") for name, id in ids.items()
    }


def without_ids(answer: httpx.Response, ids: Mapping[str, str]) -> str:
    """Return the text of the answer, with a word in place of each id."""
    text = answer.text
    for id in sorted(ids.values(), key=len, reverse=True):
        if len(id) > 3:
            text = text.replace(id, "ID")
    return text


def things_in(answer: httpx.Response) -> list[Any]:
    """Return the items of a list, or the sums in the buckets of usage."""
    items = answer.json()["data"]
    return [thing for item in items for thing in (item["results"] if item["object"] == "bucket" else [item])]


def names_a_thing(operation: Operation) -> bool:
    """True if the path has a parameter that names something of an organisation."""
    return bool(set(re.findall(r"\{(\w+)\}", operation.path)) - SHARED_PARAMETERS)


@pytest.mark.parametrize(
    "mixed", [False, True], ids=["all of the victim, by key", "but for an own store, by token"]
)
def test_no_operation_reaches_anything_of_another_organisation(
    victim: Everything,
    other: Everything,
    keyed_pool: ConnectionPool,
    by_token: httpx.Client,
    forgetful: Counter[str],
    mixed: bool,
) -> None:
    client = by_token if mixed else other.client
    ids = {**victim.ids, "vector_store_id": other.ids["vector_store_id"]} if mixed else victim.ids
    nothing = guessed(victim.ids) | ({"vector_store_id": ids["vector_store_id"]} if mixed else {})
    own_store_is_enough = {"vector_store_id"} if mixed else set()
    with keyed_pool.connection() as connection:
        before = rows_of(connection, victim.organisation)
    filled = {table for table, rows in before.items() if rows}
    assert filled >= {
        "files",
        "jobs",
        "batches",
        "api_keys",
        "uploads",
        "vector_stores",
        "documents",
        "webhook_events",
        "budgets",
        "budget_periods",
        "schedules",
        "schedule_runs",
        "customers",
        "messages",
        "responses",
    }
    for operation in operations():
        if mixed and operation.method == "DELETE" and operation.path.endswith("{vector_store_id}"):
            continue  # this would delete the attacker's own store
        answer = ask(client, operation, ids)
        named = set(re.findall(r"\{(\w+)\}", operation.path)) - SHARED_PARAMETERS - {"vector_store"}
        if names_a_thing(operation) and not named <= own_store_is_enough:
            assert answer.status_code in {400, 403, 404}, f"{operation}: {answer.text}"
        if refused(answer):  # a wrong guess and a right one have the same answer
            guess = ask(client, operation, nothing)
            assert guess.status_code == answer.status_code, f"{operation}: {guess.text} {answer.text}"
            assert without_ids(guess, nothing) == without_ids(answer, ids), operation
        else:
            shown = [mark for mark in victim.marks if mark in answer.text]
            assert shown == [], f"{operation}: {answer.text}"
    with keyed_pool.connection() as connection:
        assert rows_of(connection, victim.organisation) == before
    statements = sum(map(bool, forgetful.values()))
    assert not forgetful or statements > 40, statements


def test_no_filter_and_no_cursor_reaches_anything_of_another_organisation(
    victim: Everything, other: Everything
) -> None:
    values = list(victim.ids.values())
    for operation in operations():
        own = {**victim.ids, **other.ids}
        for name in operation.parameters:
            if name in PLAIN_PARAMETERS:
                continue
            if name in {"after", "before"}:
                answer = ask(other.client, operation, own, **{name: victim.ids[CURSORS[operation.path]]})
                # For a file list, the cursor may be any id that has the form of a file's id, so it is not
                # refused.
                if operation.path != "/v1/files":
                    assert answer.status_code in {400, 403, 404}, f"{operation} {name}: {answer.text}"
                assert SECRET not in answer.text
                assert victim.ids["requests"] not in answer.text
                continue
            for value in values:
                answer = ask(other.client, operation, own, **{name: value})
                assert answer.status_code == 200, f"{operation} {name}: {answer.text}"
                assert things_in(answer) == [], f"{operation} {name}: {answer.text}"


def test_a_name_of_a_store_and_an_idempotency_key_mean_nothing_elsewhere(
    victim: Everything, other: Everything
) -> None:
    search = other.client.post(f"/v1/vector_stores/{STORE_NAME}/search", json={"query": SECRET})
    assert search.status_code == 404
    by_name = tool_call("search", {"query": SECRET, "vector_stores": [STORE_NAME]})
    assert "no vector store" in other.client.post("/mcp", json=by_name).text
    assert SECRET in victim.client.post("/mcp", json=by_name).text
    once = {"idempotency-key": "the same"}
    ours = victim.client.post("/v1/vector_stores", json={}, headers=once).json()["id"]
    assert other.client.post("/v1/vector_stores", json={}, headers=once).json()["id"] != ours
    found = victim.client.post(f"/v1/vector_stores/{STORE_NAME}/search", json={"query": SECRET}).json()
    assert SECRET in found["data"][0]["content"][0]["text"]  # the owner's search finds the text
