"""A crawl is created with its job, checked when it is asked for, and shows its pages by outcome."""

import pytest
from psycopg import Connection

from cluster.crawls.crawls import (
    cancel_crawl,
    create_crawl,
    get_crawl,
    list_crawls,
    list_pages,
    retry_crawl,
)
from cluster.database.paging import PageRequest
from cluster.documents.vector_stores.stores import NewStore, VectorStore, create_store
from cluster.engines import Fingerprint
from cluster.errors import InvalidInput, NotFound
from cluster.jobs.jobs import JobState, PriorityClass
from cluster.jobs.kinds.crawl_inputs import CrawlInput, DiscoverInput
from cluster.organisations.caller import Caller, CallerKind, acting_as

START = "https://Example.com:443/docs/#top"


@pytest.fixture
def store(connection: Connection, organisation: str) -> VectorStore:
    fingerprint = Fingerprint.of_given(2)
    return create_store(connection, organisation, NewStore(name="site"), fingerprint=fingerprint)


def test_a_crawl_has_a_job_and_the_options_it_was_asked_for(
    connection: Connection, organisation: str, store: VectorStore
) -> None:
    asked = CrawlInput.model_validate(
        {"url": START, "vector_store_id": store.id, "includePaths": ["^/docs/"], "exclude_paths": None}
    )
    made = create_crawl(connection, organisation, asked, max_pages=10_000)
    assert (made.url, made.vector_store, made.job_state) == ("https://example.com/docs/", store.id, "queued")
    assert (made.input, made.discovered) == (asked, 0)
    assert made.id.removeprefix("crawl_") == made.job.removeprefix("job_")
    found = CrawlInput(url=START, vector_store_id=store.id)
    other = create_crawl(connection, organisation, found, max_pages=10_000, priority_class=PriorityClass.HIGH)
    pages = list_crawls(connection, organisation, PageRequest(limit=1, after=other.id))
    assert [crawl.id for crawl in pages.items] == [made.id]
    assert not list_pages(connection, organisation, made.id).items


def test_a_key_that_is_limited_to_a_store_sees_the_crawls_into_it(
    connection: Connection, organisation: str, store: VectorStore
) -> None:
    into = CrawlInput(url=START, vector_store_id=store.id)
    own = create_crawl(connection, organisation, into, max_pages=10_000)
    create_crawl(connection, organisation, DiscoverInput(url=START), max_pages=10_000)
    for stores, seen in (([store.id], [own.id]), (["vs_other"], [])):
        caller = Caller(kind=CallerKind.KEY, id="k", organisation=organisation, stores=frozenset(stores))
        with acting_as(caller):
            assert [crawl.id for crawl in list_crawls(connection, organisation).items] == seen


def test_a_cancelled_crawl_can_run_again(connection: Connection, organisation: str) -> None:
    made = create_crawl(connection, organisation, DiscoverInput(url=START), max_pages=10_000)
    assert (made.vector_store, made.input) == (None, DiscoverInput(url=START))
    assert cancel_crawl(connection, organisation, made.id).job_state == JobState.CANCELLED
    assert retry_crawl(connection, organisation, made.id).job_state == JobState.QUEUED


WRONG = {
    "another scheme": ({"url": "ftp://example.com/"}, "url"),
    "a user name": ({"url": "https://me@example.com/"}, "url"),
    "no pattern": ({"url": START, "includePaths": ["("]}, "includePaths"),
    "too many pages": ({"url": START, "limit": 11}, "limit"),
}


@pytest.mark.parametrize(("asked", "param"), WRONG.values(), ids=WRONG)
def test_a_wrong_option_is_refused_by_its_name(
    connection: Connection, organisation: str, asked: dict[str, object], param: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        create_crawl(
            connection, organisation, DiscoverInput.model_validate({"limit": 10, **asked}), max_pages=10
        )
    assert raised.value.param == param


def test_other_organisations_see_no_crawl(connection: Connection, organisation: str) -> None:
    made = create_crawl(connection, organisation, DiscoverInput(url=START), max_pages=10_000)
    with pytest.raises(NotFound):
        get_crawl(connection, "default", made.id)
    with pytest.raises(NotFound):
        create_crawl(
            connection, organisation, CrawlInput(url=START, vector_store_id="vs_x"), max_pages=10_000
        )
