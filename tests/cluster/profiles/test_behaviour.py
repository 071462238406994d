"""Behaviour is computed exactly from events and messages."""

from typing import Any

import pytest
from psycopg import Connection

from cluster.profiles.behaviour import compute_behaviour, rate_ratio
from cluster.profiles.profiles import ProfileValue
from tests.cluster.profiles.platform import Event, cust, event, selection, send


def behaviour(connection: Connection[Any], organisation: str, name: str) -> dict[str, ProfileValue]:
    id = cust(organisation, name)
    return compute_behaviour(connection, selection(organisation), [id])[id]


def said(name: str, days: float, role: str, **data: Any) -> Event:
    return event(name, days, "message.created", conversation_id=f"talk of {name}", role=role, **data)


def test_purchases_give_recency_frequency_and_monetary_value(
    connection: Connection[Any], organisation: str
) -> None:
    bought = [
        event("a", days, "purchase.completed", amount=amount, currency="EUR")
        for days, amount in ((40, 10.1), (30, "20.2"), (10, 0.3))
    ]
    later = event("a", -0.5, "purchase.completed", amount=1_000, currency="EUR")
    send(connection, organisation, [*bought, later, event("b", 3, "purchase.completed", amount=7)])
    found = behaviour(connection, organisation, "a")
    ids = [f"/shop#{bought[n]['id']}" for n in (2, 1, 0)]
    assert found["recency_days"] == ProfileValue(value=10.0, n=3, evidence=ids[:1])
    assert found["frequency"] == ProfileValue(value=3, n=3, evidence=ids)
    assert found["monetary_total"] == ProfileValue(value=30.6, n=3, evidence=ids)
    assert found["monetary_mean"].value == pytest.approx(10.2)
    assert found["purchase_gap_days"] == ProfileValue(value=15.0, n=2, evidence=ids)
    assert found["tenure_days"].value == 40.0


def test_amounts_in_two_currencies_have_no_sum(connection: Connection[Any], organisation: str) -> None:
    euro, dollar = (
        event("a", 3, "purchase.completed", amount=7, currency="EUR"),
        event("a", 2, "purchase.completed", amount=7, currency="USD"),
    )
    send(connection, organisation, [euro, dollar, event("a", 1, "purchase.completed")])
    found = behaviour(connection, organisation, "a")
    assert (found["monetary_total"].value, found["monetary_total"].n) == (None, 2)
    assert found["frequency"].value == 3


def test_a_pause_of_more_than_30_minutes_ends_a_session(
    connection: Connection[Any], organisation: str
) -> None:
    connection.execute("UPDATE organisations SET time_zone = 'Asia/Kathmandu' WHERE id = %s", [organisation])
    minutes = (0, 30, 60, 90.02)  # before the end of a Friday in UTC, which is Saturday in Kathmandu
    send(
        connection,
        organisation,
        [said("a", 1 + (120 - minute) / 1440, "user", text="?") for minute in minutes]
        + [
            said("a", 1, "assistant", text="!"),
            event("a", 1, "conversation.ended", conversation_id="talk of a"),
        ],
    )
    found = behaviour(connection, organisation, "a")
    assert (found["sessions"].value, found["sessions"].n) == (2, 4)
    assert found["session_minutes"].value == pytest.approx(30)
    # 22:00 UTC on Friday is 03:45 on Saturday.
    assert found["hours_of_week"].value == {"123": 1, "124": 2, "125": 1}
    assert found["busiest_hour_of_week"].value == 124


def test_the_trend_has_the_interval_of_two_poisson_counts(
    connection: Connection[Any], organisation: str
) -> None:
    days = [60.0, *(30.0 + n for n in range(2)), *(1.0 + n for n in range(16))]
    send(connection, organisation, [event("a", day, "customer.seen") for day in days])
    send(connection, organisation, [event("new", day, "customer.seen") for day in days[1:]])
    found = behaviour(connection, organisation, "a")
    from scipy.stats import binomtest

    interval = binomtest(16, 18).proportion_ci(method="wilson")
    odds = [share / (1 - share) for share in (16 / 18, interval.low, interval.high)]
    assert found["trend"].value == "rising"
    assert [found["trend_ratio"].value[name] for name in ("ratio", "low", "high")] == pytest.approx(odds)
    assert behaviour(connection, organisation, "new")["trend"] == ProfileValue(value=None, n=18)
    assert rate_ratio(0, 0) is None
    assert rate_ratio(5, 0) == (None, pytest.approx(1.3013, abs=1e-3), None)
    assert rate_ratio(0, 5) == (0.0, 0.0, pytest.approx(0.7684, abs=1e-3))


def test_a_customer_lapses_after_an_unusually_long_pause(
    connection: Connection[Any], organisation: str
) -> None:
    send(connection, organisation, [event("gone", 31 + day, "customer.seen") for day in (0, 10, 20, 30)])
    send(connection, organisation, [event("here", 29 + day, "customer.seen") for day in (0, 10, 20, 30)])
    send(connection, organisation, [event("once", 300, "customer.seen")])
    values = {name: behaviour(connection, organisation, name)["lapsing"] for name in ("gone", "here", "once")}
    assert {name: (value.value, value.n) for name, value in values.items()} == {
        "gone": (True, 3),
        "here": (False, 3),
        "once": (None, 0),
    }


def test_a_question_is_unanswered_if_no_answer_follows(
    connection: Connection[Any], organisation: str
) -> None:
    talk = [
        ("user", {"text": "Hello"}),
        ("user", {"text": "Where is my parcel?"}),
        ("assistant", {"text": "On its way."}),
        ("user", {"text": "Since when?"}),
        ("assistant", {"text": "I found nothing.", "retrieval_hit": False}),
        ("user", {"text": "And the other one?"}),
        ("assistant", {"text": "", "error_class": "timeout"}),
        ("user", {"text": "Is anybody there?"}),
    ]
    events = [said("a", 1 - n / 1440, role, **data) for n, (role, data) in enumerate(talk)]
    send(connection, organisation, events)
    found = behaviour(connection, organisation, "a")
    assert (found["questions"].value, found["unanswered_questions"].value) == (4, 3)
    row = connection.execute(
        "SELECT array_agg(id ORDER BY occurred_at DESC) FROM messages WHERE organisation = %s"
        " AND text IN ('Since when?', 'And the other one?', 'Is anybody there?')",
        [organisation],
    ).fetchone()
    assert row is not None
    assert found["unanswered_questions"].evidence == row[0]


def test_a_customer_without_facts_has_values_without_cases(
    connection: Connection[Any], organisation: str
) -> None:
    found = behaviour(connection, organisation, "nobody")
    assert {value.n for value in found.values()} == {0}
    assert (found["recency_days"].value, found["frequency"].value, found["trend"].value) == (None, 0, None)
