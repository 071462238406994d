"""The job of a file that stands for a URL fetches the URL through the guarded transport, and indexes it."""

import time
from collections.abc import Iterator

import pytest
from psycopg_pool import ConnectionPool

from cluster.crawls.host_turns import hold_back
from cluster.documents.chunks.chunk_indexes import open_chunk_index
from cluster.documents.files import File
from cluster.documents.linked_files import INTERNET_SHORTCUT, create_linked_file
from cluster.documents.vector_stores.stores import VectorStore
from cluster.engines import Engine
from cluster.jobs.jobs import Job, JobState
from cluster.organisations.organisations import StorageLimits
from cluster.settings import Settings
from tests.data_jobs.running_consumer import LocalClient, consuming
from tests.simulators.site import INNER, MAIN, TrapSite, site_of_traps

#: A page without text until its scripts run, and a page that states its title and its dates.
SCRIPTS = (
    b"<title>App</title><body><div id=root></div><p>Loading.</p><script src=app.js></script>"
    b"<noscript>You need to enable JavaScript.</noscript>"
)
DATED = b"""<title>Quokkas</title><meta property="article:published_time" content="2026-03-01">
<meta property="article:modified_time" content="2026-05-02"><main><h1>Quokkas</h1>
<p>Quokkas live on Rottnest Island, and eat leaves and grasses at night.</p></main>"""


@pytest.fixture(scope="module")
def site() -> Iterator[TrapSite]:
    with site_of_traps() as site:
        site.put("/scripts.html", SCRIPTS)
        site.put("/dated.html", DATED)
        yield site


@pytest.fixture(scope="module")
def client_settings(only_hashing: Settings, site: TrapSite) -> Settings:
    reachable = site.settings()
    names = ("outbound_allow_cidrs", "outbound_ports")
    changes = {name: getattr(reachable, name) for name in names} | {
        "crawl_requests_per_s": 500.0,
        "browser": "off",
    }
    return only_hashing.model_copy(update={**changes, "stage_attempts": 1, "max_document_bytes": 2_000_000})


@pytest.fixture(scope="module")
def _consumer(client_settings: Settings, pool: ConnectionPool, hashing_engine: Engine) -> Iterator[None]:
    with consuming(client_settings, pool, hashing_engine):
        yield


@pytest.fixture
def client(
    client_settings: Settings,
    pool: ConnectionPool,
    hashing_engine: Engine,
    organisation: str,
    _consumer: None,
) -> LocalClient:
    return LocalClient(client_settings, pool, hashing_engine, organisation)


def indexed(client: LocalClient, url: str) -> tuple[VectorStore, File, Job]:
    """Attach the URL to a new store; the store, the file and the ended job."""
    store = client.store()
    with client.pool.connection() as connection, connection.transaction():
        file = create_linked_file(
            connection, client.blobs, client.organisation, url, default_limits=StorageLimits()
        )
    assert file.media_type == INTERNET_SHORTCUT
    return store, file, client.ended(client.attach(store, file))


def test_the_main_content_of_a_page_is_searchable(client: LocalClient, site: TrapSite) -> None:
    store, _, job = indexed(client, site.url("/sqlite/nulls.html", by_name=False))
    assert (job.state, (job.result or {})["outcome"]) == (JobState.SUCCEEDED, "ok")
    hits = open_chunk_index(client.settings, client.pool).search(
        client.organisation,
        store.id,
        collection=store.collection,
        vector=client.engine.embed(["Are NULLs distinct in a UNIQUE column?"]).vectors[0],
    )
    found = " ".join(hit.text or "" for hit in hits)
    assert "NULLs are distinct for UNIQUE columns" in found
    assert "Purchase" not in found  # an entry of the menu
    assert hits[0].attributes["filename"] == "nulls.html"


def test_another_document_is_read_by_its_own_parser(client: LocalClient, site: TrapSite) -> None:
    _, file, job = indexed(client, site.url("/traps/notes.md", by_name=False))
    assert (file.filename, (job.result or {})["chunks"]) == ("notes.md", 1)


def test_a_changed_page_is_embedded_again_in_its_changed_parts(client: LocalClient, site: TrapSite) -> None:
    url = site.url("/sqlite/whentouse.html", by_name=False)
    store, file, first = indexed(client, url)
    site.change("/sqlite/whentouse.html", "A sentence about quokkas and numbats.")
    again = client.ended(client.attach(store, file))
    embedded = (again.result or {})["embedded"]
    assert 1 <= embedded < (first.result or {})["chunks"]


FAULTS = {
    "/traps/missing.html": ("unreadable", "status 404"),
    "/traps/redirect-inner": ("unreadable", "not on the public internet"),
    "/traps/circle": ("unreadable", "more than 5 times"),
    "/traps/large.html": ("too_large", "CLUSTER_MAX_DOCUMENT_BYTES"),
    "/traps/bomb.html": ("too_large", "CLUSTER_MAX_DOCUMENT_BYTES"),
    "/scripts.html": ("needs_browser", "only in a browser that runs its scripts"),
}


@pytest.mark.parametrize("path", FAULTS)
def test_each_fault_of_a_url_has_a_sentence(client: LocalClient, site: TrapSite, path: str) -> None:
    code, said = FAULTS[path]
    _, _, job = indexed(client, site.url(path, by_name=False))
    assert (job.state, job.error_code) == (JobState.FAILED, code)
    assert said in (job.error or "")
    assert not site.inner_requests


def test_an_inner_address_is_never_asked(client: LocalClient, site: TrapSite) -> None:
    _, _, job = indexed(client, f"http://{INNER}:{site.port}/secret")
    assert (job.state, job.error_code) == (JobState.FAILED, "unreadable")
    assert not site.inner_requests


def test_the_title_and_the_dates_of_a_page_are_attributes(client: LocalClient, site: TrapSite) -> None:
    store, _, _ = indexed(client, site.url("/dated.html", by_name=False))
    index = open_chunk_index(client.settings, client.pool)
    (row,) = index.scan(client.organisation, store.id, collection=store.collection)
    stated = {name: row.attributes[name] for name in ("title", "published", "modified")}
    assert stated == {"title": "Quokkas", "published": "2026-03-01", "modified": "2026-05-02"}


def test_a_fetch_waits_for_the_turn_of_its_host(client: LocalClient, site: TrapSite) -> None:
    host = f"{MAIN}:{site.port}"
    with client.pool.connection() as connection, connection.transaction():
        hold_back(connection, host, 1.0)
    asked_at = time.monotonic()
    indexed(client, site.url("/dated.html", by_name=False))
    assert site.requests[-1].at - asked_at > 0.9
    assert site.requests[-1].headers["user-agent"] == "embedding-cluster/1.0"
