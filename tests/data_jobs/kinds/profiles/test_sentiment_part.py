"""The job says how customers write: language and sentiment, as means with intervals, from real vectors."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.engines import Engine, Registry, open_engine
from cluster.jobs import queue
from cluster.jobs.jobs import Job, JobState
from cluster.jobs.kinds import ENRICH_CUSTOMER_PROFILE
from cluster.platform_data.directory import change_customer
from cluster.platform_data.erasure import erase_customer
from cluster.profiles.messages.sentiment_values import tone
from cluster.profiles.profiles import get_profile
from cluster.settings import Settings
from data_jobs.kinds.profiles import analyse_messages
from data_jobs.stages.messages.analyse import AnalyseMessages, model_of_messages
from tests.cluster.profiles.platform import Event, cust, event, send
from tests.data_jobs.kinds.test_import_events import ended
from tests.data_jobs.running_consumer import consuming

GLAD = [
    "Thank you so much, this is perfect!",
    "Great, it works now.",
    "I love this lamp.",
    "You are very kind.",
]
ANGRY = ["This is terrible, it broke again.", "I am very disappointed.", "Worst service ever, I hate it."]
GERMAN = ["Wo ist mein Paket?", "Ich habe es am Montag bestellt.", "Das ist sehr ärgerlich.", "Danke!"]


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: ConnectionPool, engine: Engine) -> Iterator[None]:
    with consuming(settings, pool, engine):
        yield


def said(customer: str, texts: list[str], *, talk: str = "talk") -> list[Event]:
    """Messages of the customer, and an answer that does not count."""
    ids = {"conversation_id": f"{talk} of {customer}"}
    own = [event(customer, 5, "message.created", **ids, role="user", text=text) for text in texts]
    return [*own, event(customer, 5, "message.created", **ids, role="assistant", text="I hate everything.")]


def enriched(pool: ConnectionPool, organisation: str, **input: str) -> Job:
    with pool.connection() as connection:
        id = queue.submit(connection, organisation, ENRICH_CUSTOMER_PROFILE, dict(input)).id
    job = ended(pool, organisation, id)
    assert job.state == JobState.SUCCEEDED, job.error
    return job


def part(connection: Connection[Any], organisation: str, customer: str) -> dict[str, Any]:
    profile = get_profile(connection, organisation, cust(organisation, customer))
    return {name: value["value"] for name, value in profile.parts["sentiment"]["values"].items()}


def analysed(connection: Connection[Any], organisation: str) -> int:
    sql = "SELECT count(*) FROM message_analyses WHERE organisation = %s"
    return connection.execute(sql, [organisation]).fetchone()[0]  # type: ignore[index]


@pytest.mark.usefixtures("worker")
def test_customers_get_means_of_their_messages_and_each_message_is_embedded_once(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(analyse_messages, "MESSAGES_PER_PAGE", 3)
    monkeypatch.setattr(analyse_messages, "MESSAGES_PER_CALL", 2)
    send(connection, organisation, said("glad", GLAD) + said("glad", GLAD[:1], talk="second"))
    send(connection, organisation, said("angry", ANGRY) + said("german", GERMAN) + said("brief", ANGRY[:2]))
    job = enriched(pool, organisation)
    assert job.result is not None
    counts = job.result["parts"]["sentiment"]
    assert (counts["customers"], counts["analysed"]) == (4, 14)
    glad, angry, german, brief = (
        part(connection, organisation, name) for name in ("glad", "angry", "german", "brief")
    )
    assert glad["sentiment"] > 0.2 > -0.2 > angry["sentiment"]
    low, high = glad["sentiment_interval"]
    assert low < glad["sentiment"] < high
    assert (glad["sentiment_label"], angry["sentiment_label"]) == ("positive", "negative")
    assert (glad["language"], glad["languages"]) == ("en", {"en": 5})
    # A conversation with one message has no figure of its own, and neither has a customer with two.
    figures = {one["n"]: (one["sentiment"], one["label"]) for one in glad["sentiment_of_conversations"]}
    assert figures[1] == (None, "too_few_messages")
    assert figures[4][0] > 0.2
    assert (brief["sentiment"], brief["sentiment_label"]) == (None, "too_few_messages")
    assert (german["sentiment"], german["sentiment_label"]) == (None, "unsupported_language")
    assert german["languages"] == {"de": 4}
    usage = connection.execute(
        "SELECT sum(quantity) FROM usage_events WHERE organisation = %s AND kind = 'embedding'",
        [organisation],
    ).fetchone()
    assert usage == (counts["tokens"],)
    send(connection, organisation, said("angry", GLAD[:1]))
    again = enriched(pool, organisation)
    assert again.result is not None
    assert (again.result["parts"]["sentiment"]["analysed"], analysed(connection, organisation)) == (1, 15)


@pytest.mark.usefixtures("worker")
def test_nothing_is_left_of_the_messages_of_who_refuses_or_is_erased(
    pool: ConnectionPool, connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [one for name in "abc" for one in said(name, ANGRY)])
    enriched(pool, organisation)
    assert analysed(connection, organisation) == 9
    change_customer(connection, organisation, cust(organisation, "a"), {"profiling": False})
    assert analysed(connection, organisation) == 6
    with connection.transaction():
        erasure = erase_customer(connection, organisation, cust(organisation, "b"))
    assert erasure is not None
    assert (erasure.deleted["message_analyses"], erasure.remaining["message_analyses"]) == (3, 0)
    assert analysed(connection, organisation) == 3
    enriched(pool, organisation)
    assert analysed(connection, organisation) == 3


def test_messages_are_sent_to_a_provider_only_if_the_settings_name_its_model(settings: Settings) -> None:
    models = {"remote": {"source": "openai:text-embedding-3-small", "key_env": "NO_KEY"}}
    remote = settings.model_copy(update={"models": Settings(models=models).models, "model": "remote"})
    assert model_of_messages(remote) is None
    named = remote.model_copy(update={"profiles_model": "remote"})
    found = model_of_messages(named)
    assert found is not None
    assert found.model == "remote"
    assert AnalyseMessages(settings, model_of_messages(settings)).key.version.startswith("linear-")  # type: ignore[arg-type]


def test_an_interval_is_narrower_with_more_messages_and_never_empty() -> None:
    few, many, same = tone(3, 0.3, 0.1), tone(300, 0.3, 0.1), tone(3, 0.5, 0.0)
    assert few.label == "neutral"
    assert many.label == "positive"
    assert few.low < many.low < 0.3 < many.high < few.high  # type: ignore[operator]
    assert same.high - same.low > 0.3  # type: ignore[operator]
    # Student's t with 6 degrees of freedom: 2.4469; the pooled variance is (4 * 0.08 + 2 * 0.1) / 6.
    assert few.high == pytest.approx(0.3 + 2.4469 * (0.52 / 6 / 3) ** 0.5, abs=2e-3)
