"""One attempt at a delivery returns what the endpoint answered, and when the next attempt may be made."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from cluster.outbound import AsyncOutboundClient
from cluster.webhooks.outbox import AttemptResult
from cluster.webhooks.sending import LONGEST_RETRY_AFTER_S, event_body, send
from cluster.webhooks.signature import new_secret
from tests.cluster.outbound.outside import OutsideServer, answering, outside, reaching
from tests.waiting import LONGEST_WAIT_S

BODY = event_body("evt_1", "job.failed", {"id": "job_1"}, created_at=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture(scope="module")
def receiver() -> Iterator[OutsideServer]:
    with outside() as server:
        yield server


@pytest.fixture(scope="module")
def outbound(receiver: OutsideServer) -> AsyncOutboundClient:
    return AsyncOutboundClient(reaching(receiver.port))


async def attempt(outbound: AsyncOutboundClient, url: str) -> AttemptResult:
    return await send(outbound, url, "evt_1", BODY, [new_secret()], timeout_s=LONGEST_WAIT_S)


def test_the_body_has_the_fields_of_openais_events() -> None:
    assert BODY == (
        b'{"id":"evt_1","object":"event","created_at":1767225600,"type":"job.failed","data":{"id":"job_1"}}'
    )


@pytest.mark.parametrize("status", [200, 204, 299])
async def test_each_status_of_success_is_one(
    status: int, receiver: OutsideServer, outbound: AsyncOutboundClient
) -> None:
    receiver.answers["/"] = answering(status, b"thanks" if status == 200 else b"")
    assert await attempt(outbound, receiver.url()) == AttemptResult(status=status)
    assert receiver.requests[-1][3] == BODY


@pytest.mark.parametrize(
    ("status", "says", "gone"),
    [
        (302, "the endpoint answered 302; redirects are not followed, so change the URL", False),
        (404, "the endpoint answered 404", False),
        (410, "the endpoint answered 410", True),
        (500, "the endpoint answered 500", False),
    ],
)
async def test_every_other_status_is_a_failure(
    status: int, says: str, gone: bool, receiver: OutsideServer, outbound: AsyncOutboundClient
) -> None:
    receiver.answers["/"] = answering(status, b"<html>", location="/other")
    result = await attempt(outbound, receiver.url())
    assert (result.status, result.error, result.gone) == (status, says, gone)


@pytest.mark.parametrize(
    ("header", "least_s", "most_s"),
    [
        ("120", 120, 120),
        ("99999999", LONGEST_RETRY_AFTER_S, LONGEST_RETRY_AFTER_S),
        (timedelta(seconds=600), 400, 600),
        (timedelta(days=-1), 0, 0),
        ("soon", 0, 0),
        ("-5", 0, 0),
        ("9" * 5_000, LONGEST_RETRY_AFTER_S, LONGEST_RETRY_AFTER_S),
    ],
    ids=["seconds", "too long", "a date", "a past date", "no number", "negative", "no limit"],
)
async def test_the_endpoint_says_when_to_try_again_within_limits(
    header: str | timedelta,
    least_s: float,
    most_s: float,
    receiver: OutsideServer,
    outbound: AsyncOutboundClient,
) -> None:
    if isinstance(header, timedelta):  # a date, this long after now
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    receiver.answers["/"] = answering(503, retry_after=header)
    result = await attempt(outbound, receiver.url())
    assert least_s <= result.retry_after_s <= most_s


async def test_without_an_answer_the_reason_is_a_sentence(
    receiver: OutsideServer, outbound: AsyncOutboundClient
) -> None:
    receiver.answers["/"] = lambda handler: handler.reset()
    results = [
        await attempt(outbound, url)
        for url in (receiver.url(), "http://127.0.0.2/", receiver.url().replace("http:", "https:"))
    ]
    assert {one.status for one in results} == {None}
    assert [one.error for one in results] == [
        "the connection ended before the answer was complete",
        "the host has an address that is not on the public internet",
        "the TLS connection fails; check the certificate of the server",
    ]
