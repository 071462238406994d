"""Topics of messages: found without labels, named by their words, and the same from day to day."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from psycopg import Connection
from psycopg_pool import ConnectionPool

from cluster.engines import Engine, Registry, open_engine
from cluster.jobs.jobs import Job
from cluster.platform_data.erasure import erase_customer
from cluster.profiles.messages import topics
from cluster.profiles.messages.topic_rows import topics_over_time
from cluster.profiles.messages.topics import find_topics, keywords, topic_name
from cluster.settings import Settings
from tests.cluster.profiles.platform import AS_OF, cust, send
from tests.data_jobs.kinds.profiles.test_sentiment_part import enriched, said
from tests.data_jobs.running_consumer import consuming

#: For each subject, beginnings and ends of what customers write.
SUBJECTS = {
    "parcel": (
        ["Where is my parcel", "My parcel has not come", "The courier lost the parcel", "Track my parcel"],
        ["", " please", ", I ordered it on Monday", ", it is late", " to Boston", " again"],
    ),
    "invoice": (
        ["I need an invoice", "The invoice is wrong", "Send the invoice by email", "The tax on my bill"],
        ["", " please", " for March", " for my company", ", the address is wrong", " again"],
    ),
    "password": (
        ["I forgot my password", "I cannot log in", "Reset my password", "My account is locked"],
        ["", " please", " since yesterday", " on my phone", ", the email does not come", " again"],
    ),
    "refund": (
        ["I want my money back", "When do I get the refund", "Refund my order", "Return this and refund me"],
        ["", " please", " for the shoes", " to my card", ", I waited ten days", " again"],
    ),
}  # fmt: skip


def written(subject: str) -> list[str]:
    return [begin + end for begin, end in product(*SUBJECTS[subject])]


@pytest.fixture(scope="module")
def engine(settings: Settings) -> Engine:
    return open_engine(Registry(settings).default)


@pytest.fixture(scope="module")
def worker(settings: Settings, pool: ConnectionPool, engine: Engine) -> Iterator[None]:
    with consuming(settings, pool, engine):
        yield


def topics_of(job: Job) -> dict[str, Any]:
    assert job.result is not None
    found: dict[str, Any] = job.result["parts"]["topics"]
    return found


def test_topics_are_the_subjects_and_stay_the_same_with_a_tenth_more_messages(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sklearn.metrics import adjusted_rand_score

    monkeypatch.setattr(topics, "MIN_MESSAGES", 12)
    subjects = list(SUBJECTS)
    true = np.repeat(np.arange(4), 24)
    vectors = engine.embed([text for subject in subjects for text in written(subject)]).vectors
    dim = vectors.shape[1]
    later = np.random.default_rng(3).permutation(len(vectors))[:86]
    first = find_topics(vectors[later], np.empty((0, dim), np.float32))
    assert adjusted_rand_score(true[later], first.labels) > 0.7
    second = find_topics(vectors, first.centroids)
    assert adjusted_rand_score(first.labels, second.labels[later]) > 0.9
    assert list(second.previous) == list(range(len(first.centroids)))
    news = engine.embed([f"Do you have {what} on the menu for lunch?" for what in FOOD])
    third = find_topics(np.vstack([vectors, news.vectors]), second.centroids)
    assert (third.previous < 0).sum() == 1
    (new,) = np.flatnonzero(third.previous < 0)
    assert (third.labels[len(vectors) :] == new).mean() > 0.9
    assert adjusted_rand_score(second.labels, third.labels[: len(vectors)]) > 0.9


FOOD = [
    f"{kind} {dish}"
    for kind in ("fresh", "vegan", "spicy", "small", "cold")
    for dish in ("soup", "pasta", "pizza", "salad", "curry")
]


def test_new_topics_need_many_more_messages_without_a_topic_than_the_run_before_left(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "MIN_MESSAGES", 12)
    asked = engine.embed([text for subject in SUBJECTS for text in written(subject)]).vectors
    news = engine.embed([f"Do you have {what} on the menu for lunch?" for what in FOOD]).vectors
    known = find_topics(asked, np.empty((0, asked.shape[1]), np.float32)).centroids

    same = find_topics(np.vstack([asked, news]), known, unassigned_before=len(news) - 11)
    more = find_topics(np.vstack([asked, news]), known, unassigned_before=len(news) - 12)

    assert list(same.previous) == list(range(len(known)))
    assert (more.previous < 0).sum() == 1


def test_keywords_are_words_of_many_customers() -> None:
    texts = [["refund for Grace Hopper"] * 3, ["password of 12345 reset", "reset password", "password reset"]]
    customers = [["a", "a", "b"], ["a", "b", "c"]]
    refund, password = keywords(texts, customers)
    assert refund == []
    assert set(password[:2]) <= {"password", "reset", "password reset", "reset password"}
    assert topic_name(["password reset", "reset", "login"]) == "password reset, login"
    assert topic_name([]) == "other"


@pytest.mark.usefixtures("worker")
def test_the_job_names_topics_keeps_them_and_forgets_the_erased(
    pool: ConnectionPool, connection: Connection[Any], organisation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "MIN_MESSAGES", 8)
    for subject, other in (("parcel", "password"), ("password", "parcel")):
        texts = written(subject)
        for place in range(4):
            name = f"{subject}{place}"
            send(connection, organisation, said(name, texts[place::4] + written(other)[:1]))
    first = topics_of(enriched(pool, organisation))
    assert (first["customers"], first["topics"], first["agreement"]) == (8, 2, None)
    sql = "SELECT attributes ->> 'top_topic' FROM customer_profiles WHERE organisation = %s AND customer = %s"

    def top(name: str) -> str:
        return str(connection.execute(sql, [organisation, cust(organisation, name)]).fetchone()[0])  # type: ignore[index]

    assert "parcel" in top("parcel0")
    assert "password" in top("password0")
    assert top("parcel1") == top("parcel0")
    send(connection, organisation, said("parcel0", ["My parcel has still not arrived."], talk="later"))
    one = topics_of(enriched(pool, organisation, customer_id=cust(organisation, "parcel0")))
    assert (one["topics"], "version" in one) == (2, False)
    second = topics_of(enriched(pool, organisation))
    assert (second["topics"], second["agreement"]) == (2, 1.0)
    counted = topics_over_time(connection, organisation, AS_OF.replace(month=2), AS_OF)
    assert sum(row["messages"] for row in counted) >= 48
    assert {row["name"] for row in counted} == {top("parcel0"), top("password0")}
    with connection.transaction():
        erase_customer(connection, organisation, cust(organisation, "parcel0"))
    left = topics_over_time(connection, organisation, AS_OF.replace(month=2), AS_OF)
    assert sum(row["messages"] for row in left) <= sum(row["messages"] for row in counted) - 7
