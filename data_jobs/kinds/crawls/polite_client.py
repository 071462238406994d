"""Sends requests for web pages through the guarded transport, and limits the rate of requests to each host.

Crawls and the jobs of files that stand for a URL use it.

client = PoliteClient(attempt, transport, delay_s=0.0)
answer = await client.get("https://example.com/docs/", crawl_delay_s=5.0, max_bytes=5_000_000)
"""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from uuid import UUID

from cluster.crawls.host_turns import HostTurn, end_turn, take_turn
from cluster.crawls.urls import host_of
from cluster.outbound import AsyncOutboundClient, OutboundAnswer
from cluster.retrying import requested_wait_s
from cluster.settings import Settings
from data_jobs.worker.job_attempt import JobAttempt
from data_jobs.worker.stage_errors import TryLater

#: Statuses with which a server asks for fewer requests.
TOO_MANY_REQUESTS, SERVICE_UNAVAILABLE = 429, 503
#: Seconds for which a host gets no request after such a status: the number that is used if the answer has no
#: valid ``Retry-After``, and the maximum.
DEFAULT_RETRY_AFTER_S, MAX_RETRY_AFTER_S = 10.0, 86_400.0
#: Maximum seconds for which a job keeps its slot while it waits for a host.
LONG_WAIT_S = 15.0
#: Seconds by which a request may exceed its time limit before it no longer counts as a request to its host.
LEASE_MARGIN_S = 10.0
#: Error code of a job that gave up its slot, and continues later.
NEXT_TURN = "next_turn"
#: Error of a crawl that gave up its slot because a page or a host has to wait.
WAITS_FOR_HOST = "the website may get its next request later, or did not answer"


class HostBusy(Exception):
    """Raised if a host may get the next request only after a long wait.

    Args:
        wait_s: seconds until the next request.
    """

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"the host may get its next request in {wait_s:.0f} seconds")
        self.wait_s = wait_s


class PoliteClient:
    """Sends requests for one job.

    Args:
        attempt: the attempt at the job.
        transport: the guarded transport.
        delay_s: minimum seconds between two requests to a host, as the options of a crawl say.
    """

    def __init__(self, attempt: JobAttempt, transport: AsyncOutboundClient, *, delay_s: float) -> None:
        self._attempt, self._transport, self._delay_s = attempt, transport, delay_s
        self._agent = user_agent(attempt.settings)

    def check(self, url: str) -> None:
        """Check whether the transport permits the text of the URL. No request is sent.

        Raises:
            Refused: the URL breaks a rule of the transport.
        """
        self._transport.check(url)

    async def get(
        self,
        url: str,
        *,
        crawl_delay_s: float,
        max_bytes: int,
        headers: Mapping[str, str] | None = None,
        follow_redirects: bool = False,
        deadline_s: float | None = None,
    ) -> OutboundAnswer:
        """Wait until the host may get a request, then send the request.

        Args:
            crawl_delay_s: ``Crawl-delay`` of the host.
            max_bytes: maximum number of bytes of the body, after decompression.
            follow_redirects: True to follow redirects. Only the first host is asked for a turn.
            deadline_s: seconds for the whole request; None: ``crawl_page_timeout_s``.

        Raises:
            HostBusy: the wait is too long to keep the slot.
            Refused, TooLarge, DeadlineExceeded, NoAnswer: see ``AsyncOutboundClient.get``.
        """
        host = host_of(url)
        deadline_s = deadline_s or self._attempt.settings.crawl_page_timeout_s
        turn = await self._turn(host, crawl_delay_s, lease_s=deadline_s + LEASE_MARGIN_S)
        hold_back_s = 0.0
        try:
            answer = await self._transport.get(
                url,
                max_bytes=max_bytes,
                deadline_s=deadline_s,
                headers={"user-agent": self._agent, "accept": "*/*", **(headers or {})},
                follow_redirects=follow_redirects,
            )
            if asks_for_less(answer):
                hold_back_s = retry_after_s(answer)
            return answer
        finally:
            end = partial(end_turn, host=host, id=turn, hold_back_s=hold_back_s)
            await asyncio.shield(self._attempt.in_transaction(lambda connection: end(connection)))

    async def _turn(self, host: str, crawl_delay_s: float, *, lease_s: float) -> UUID:
        settings = self._attempt.settings
        take = partial(
            take_turn,
            host=host,
            interval_s=max(1 / settings.crawl_requests_per_s, self._delay_s, crawl_delay_s),
            at_once=settings.crawl_concurrency_per_host,
            lease_s=lease_s,
        )
        while True:
            turn: HostTurn = await self._attempt.in_transaction(lambda connection: take(connection))
            if turn.id is not None:
                return turn.id
            if turn.wait_s > LONG_WAIT_S:
                raise HostBusy(turn.wait_s)
            self._attempt.goes_on()
            await asyncio.sleep(turn.wait_s)


def user_agent(settings: Settings) -> str:
    """Return the header ``User-Agent`` of requests for web pages."""
    contact = settings.crawl_contact_url
    return f"{settings.crawl_user_agent}/1.0" + (f" (+{contact})" if contact else "")


def asks_for_less(answer: OutboundAnswer) -> bool:
    """Return True if the server asks for fewer requests."""
    return answer.status == TOO_MANY_REQUESTS or (
        answer.status == SERVICE_UNAVAILABLE and "retry-after" in answer.headers
    )


def retry_after_s(answer: OutboundAnswer) -> float:
    """Return the seconds for which the server asks to wait (RFC 9110, section 10.2.3), but at most
    ``MAX_RETRY_AFTER_S``. If the server names no valid time, return ``DEFAULT_RETRY_AFTER_S``.
    """
    wait_s = requested_wait_s(answer.headers.get("retry-after"), most_s=MAX_RETRY_AFTER_S)
    return DEFAULT_RETRY_AFTER_S if wait_s is None else wait_s


def later(wait_s: float, because: str) -> TryLater:
    """Return the error with which a job gives up its slot for ``wait_s`` seconds."""
    run_at = datetime.now(UTC) + timedelta(seconds=wait_s)
    return TryLater(run_at, because, NEXT_TURN, counts=False)
