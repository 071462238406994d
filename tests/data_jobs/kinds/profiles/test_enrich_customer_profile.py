"""The job computes the profiles of the selected customers, and of nobody who refuses."""

import threading
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState
from cluster.jobs.kinds import ENRICH_CUSTOMER_PROFILE
from cluster.platform_data.directory import change_customer
from cluster.platform_data.erasure import erase_customer
from cluster.profiles.profiles import PartVersion, ProfileValue, get_profile, write_part
from cluster.profiles.propensity import fitting, training
from cluster.profiles.propensity.models import latest_models
from cluster.profiles.selection import Selection
from cluster.settings import Settings
from data_jobs.kinds.profiles import behaviour_part, profile_part
from data_jobs.kinds.profiles.enrich_customer_profile import EnrichCustomerProfile
from tests.cluster.profiles.platform import AS_OF, cust, event, profiles, selection, send
from tests.data_jobs.kinds.test_import_events import ended
from tests.data_jobs.running_consumer import consuming

OTHER = PartVersion(part="other", version="1")


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: ConnectionPool) -> Iterator[None]:
    made = EnrichCustomerProfile(Any)  # type: ignore[arg-type]
    with consuming(settings, pool, kinds={ENRICH_CUSTOMER_PROFILE.name: made}):
        yield


def enriched(pool: ConnectionPool, organisation: str, **input: str) -> Job:
    with pool.connection() as connection:
        id = queue.submit(connection, organisation, ENRICH_CUSTOMER_PROFILE, dict(input)).id
    return ended(pool, organisation, id)


@pytest.mark.usefixtures("worker")
def test_all_customers_get_a_profile_page_by_page(
    pool: ConnectionPool,
    connection: Connection[Any],
    organisation: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(profile_part, "CUSTOMERS_AT_ONCE", 2)
    names = "abcd"
    send(connection, organisation, [event(name, 10, "purchase.completed", amount=5) for name in names])
    with connection.transaction():
        value = {"colour": ProfileValue(value="red", n=1)}
        write_part(connection, selection(organisation), OTHER, {cust(organisation, "a"): value})
    job = enriched(pool, organisation)
    assert job.state == JobState.SUCCEEDED, job.error
    assert job.result is not None
    assert (job.result["parts"]["behaviour"], job.result["deleted"]) == ({"customers": 4}, 0)
    found = profiles(pool, organisation)
    assert set(found) == {cust(organisation, name) for name in names}
    assert {attributes["frequency"] for attributes in found.values()} == {1}
    profile = get_profile(connection, organisation, cust(organisation, "a"))
    assert (profile.attributes["colour"], profile.attributes["monetary_total"]) == ("red", 5.0)
    assert profile.parts["behaviour"]["values"]["frequency"]["n"] == 1
    assert set(profile.parts) >= {"other", "behaviour", "propensity"}
    assert profile.parts["propensity"]["values"]["purchase_probability"] == {
        "value": None,
        "n": 1,
        "evidence": [],
        "reason": "insufficient_data",
    }
    (refused,) = latest_models(connection, organisation)
    missing = {one["name"] for one in refused.report["missing"]}
    assert missing == {"history_days", "customers_who_bought", "customers_who_did_not_buy"}


@pytest.mark.usefixtures("worker")
def test_customers_get_the_probability_of_a_purchase_and_its_drivers(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "MIN_CUSTOMERS", 10)
    monkeypatch.setattr(fitting, "TREES", 5)
    # Half of the customers buy every 60 days and go on; the others bought twice, long ago.
    for n in range(30):
        days = range(20 + n, 420, 60) if n % 2 else (300 + n, 400 + n)
        bought = [event(f"c{n}", day, "purchase.completed", amount=5) for day in days]
        send(connection, organisation, bought)
    send(connection, organisation, [event("looks", 1, "customer.seen")])
    with connection.transaction():
        id = queue.submit(connection, organisation, ENRICH_CUSTOMER_PROFILE, {}).id
        connection.execute("UPDATE jobs SET created_at = %s WHERE id = %s", [AS_OF, id])
    job = ended(pool, organisation, id)
    assert job.state == JobState.SUCCEEDED, job.error
    assert (job.result or {})["parts"]["propensity"]["state"] == "trained"
    found = profiles(pool, organisation)
    regular, gone = (found[cust(organisation, name)]["purchase_probability"] for name in ("c1", "c0"))
    assert 1 > regular > 0.5 > 0.3 > gone > 0
    values = get_profile(connection, organisation, cust(organisation, "c0")).parts["propensity"]["values"]
    drivers = values["purchase_drivers"]["value"]
    assert len(drivers) == 3
    assert min(driver["effect"] for driver in drivers) < 0
    assert "purchase_probability" not in found[cust(organisation, "looks")]
    # A job for one customer uses the same model.
    one = enriched(pool, organisation, customer_id=cust(organisation, "c1"))
    versions = {(done.result or {})["parts"]["propensity"]["version"] for done in (job, one)}
    assert len(versions) == 1


@pytest.mark.usefixtures("worker")
def test_one_customer_is_computed_alone(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event(name, 1, "customer.seen") for name in "ab"])
    job = enriched(pool, organisation, customer_id=cust(organisation, "b"))
    assert job.state == JobState.SUCCEEDED, job.error
    assert set(profiles(pool, organisation)) == {cust(organisation, "b")}
    missing = enriched(pool, organisation, customer_id="cust_none")
    assert (missing.state, missing.error_code) == (JobState.CANCELLED, "gone")


@pytest.mark.usefixtures("worker")
def test_who_refuses_has_no_profile_from_then_on(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event(name, 10, "customer.seen") for name in "abc"])
    assert enriched(pool, organisation).state == JobState.SUCCEEDED
    by_request, by_event = cust(organisation, "a"), cust(organisation, "b")
    change_customer(connection, organisation, by_request, {"profiling": False})
    send(connection, organisation, [event("b", 5, "customer.seen", profiling=False)])
    assert set(profiles(pool, organisation)) == {cust(organisation, "c")}
    # An event from before the refusal changes nothing.
    send(connection, organisation, [event("b", 6, "customer.seen", profiling=True)])
    assert enriched(pool, organisation).state == JobState.SUCCEEDED
    assert set(profiles(pool, organisation)) == {cust(organisation, "c")}
    refused = enriched(pool, organisation, customer_id=by_event)
    assert (refused.state, refused.error_code) == (JobState.CANCELLED, "no_consent")
    with connection.transaction():
        assert write_part(connection, selection(organisation), OTHER, {by_event: {}}) == 0


def test_with_needed_consent_only_those_who_agreed_are_written(
    connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event("yes", 5, "customer.seen", profiling=True)])
    send(connection, organisation, [event("unsaid", 5, "customer.seen")])
    rows = {cust(organisation, name): {"n": ProfileValue(value=1, n=1)} for name in ("yes", "unsaid")}
    with connection.transaction():
        assert write_part(connection, selection(organisation, need_consent=True), OTHER, rows) == 1
        assert write_part(connection, selection(organisation), OTHER, rows) == 2


@pytest.mark.usefixtures("worker")
def test_an_erased_customer_leaves_no_profile(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event(name, 10, "customer.seen") for name in "ab"])
    assert enriched(pool, organisation).state == JobState.SUCCEEDED
    erased, marked = cust(organisation, "a"), cust(organisation, "b")
    with connection.transaction():
        erasure = erase_customer(connection, organisation, erased)
    assert erasure is not None
    assert (erasure.deleted["customer_profiles"], erasure.remaining["customer_profiles"]) == (1, 0)
    with connection.transaction():
        assert erase_customer(connection, organisation, marked, max_rows=0) is None
    assert profiles(pool, organisation) == {}
    assert enriched(pool, organisation).state == JobState.SUCCEEDED
    assert profiles(pool, organisation) == {}


def test_a_repeated_part_replaces_its_values_only(connection: Connection[Any], organisation: str) -> None:
    send(connection, organisation, [event("a", 1, "customer.seen")])
    id, chosen = cust(organisation, "a"), selection(organisation)
    one, two = (ProfileValue(value=number, n=1) for number in (1, 2))
    with connection.transaction():
        write_part(connection, chosen, OTHER, {id: {"x": one, "y": one}})
        write_part(connection, chosen, PartVersion(part="third", version="1"), {id: {"z": one}})
        write_part(connection, chosen, PartVersion(part="other", version="2"), {id: {"x": two}})
    profile = get_profile(connection, organisation, id)
    assert profile.attributes == {"x": 2, "z": 1}
    assert profile.parts["other"]["version"] == "2"


def test_a_refusal_waits_for_a_profile_that_is_being_written(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event("a", 1, "customer.seen")])
    id = cust(organisation, "a")
    refused = threading.Event()

    def refuse() -> None:
        with pool.connection() as other, other.transaction():
            change_customer(other, organisation, id, {"profiling": False})
        refused.set()

    thread = threading.Thread(target=refuse)
    with connection.transaction():
        values = {"x": ProfileValue(value=1, n=1)}
        assert write_part(connection, selection(organisation), OTHER, {id: values}) == 1
        thread.start()
        assert not refused.wait(0.3)
    thread.join()
    assert profiles(pool, organisation) == {}


@pytest.mark.usefixtures("worker")
def test_another_attempt_continues_after_the_last_customers(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(profile_part, "CUSTOMERS_AT_ONCE", 2)
    computed: list[str] = []
    compute = behaviour_part.compute_behaviour

    def fail_once(connection: Connection[Any], chosen: Selection, customers: Sequence[str]) -> Any:
        computed.extend(customers)
        if len(computed) == 4:
            raise RuntimeError("a fault")
        return compute(connection, chosen, customers)

    monkeypatch.setattr(behaviour_part, "compute_behaviour", fail_once)
    send(connection, organisation, [event(name, 1, "customer.seen") for name in "abcde"])
    job = enriched(pool, organisation)
    assert job.state == JobState.SUCCEEDED, job.error
    ids = sorted(cust(organisation, name) for name in "abcde")
    assert computed == [*ids[:4], *ids[2:]]
    assert set(profiles(pool, organisation)) == set(ids)
