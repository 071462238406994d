"""Waits double up to a limit, are random where they should be, and honour a pause that is asked for."""

import pytest

from cluster.errors import Resource, Shortage, Throttled, Unavailable
from cluster.retrying import Backoff, is_waited_out, requested_wait_s


def test_waits_double_up_to_the_longest() -> None:
    backoff = Backoff(first_s=0.5, longest_s=3.0)
    assert [backoff.wait_s(attempt) for attempt in (1, 2, 3, 4, 1_000)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_jitter_waits_a_random_part() -> None:
    backoff = Backoff(first_s=1.0, longest_s=15.0, jitter=True)
    waits = {backoff.wait_s(3) for _ in range(100)}
    assert len(waits) > 50
    assert 0 <= min(waits) < 1 < 3 < max(waits) <= 4


@pytest.mark.parametrize(("requested_s", "expected"), [(20.0, 20.0), (0.1, 0.5), (None, 0.5)])
def test_a_longer_pause_that_is_asked_for_counts(requested_s: float | None, expected: float) -> None:
    error = Throttled("busy", retry_after_s=requested_s)
    assert Backoff(first_s=0.5, longest_s=3.0).wait_s(1, error) == expected


def test_only_a_shortage_that_no_call_causes_is_waited_out() -> None:
    assert is_waited_out(Shortage("full", resource=Resource.DATABASE_DISK))
    assert not is_waited_out(Shortage("too large", resource=Resource.DATABASE_MEMORY))
    assert not is_waited_out(Unavailable("away"))


def test_a_server_asks_for_a_wait_in_seconds_or_with_a_date() -> None:
    asked = ["9", "0.5", "-1", "1e9", "Fri, 31 Dec 2100 23:59:59 GMT", "Mon, 05 Jan 2026 10:00:00 -0000"]
    assert [requested_wait_s(text, most_s=60.0) for text in asked] == [9.0, 0.5, 0.0, 60.0, 60.0, 0.0]
    invalid = [
        *(None, "", "soon", "nan", "Fri, 99 Foo"),
        "Mon, 05 Jan 99999999999999999999 10:00:00 GMT",
        "Mon, 05 Jan 2026 10:00:00 +99999999999999",
    ]
    assert {requested_wait_s(text, most_s=60.0) for text in invalid} == {None}
