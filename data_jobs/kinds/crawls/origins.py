"""Reads the ``robots.txt`` of each origin once in a crawl.

origins = Origins(resources, attempt, crawl, client)
rules = await origins.rules_of("https://example.com/docs/")
rules.permits("https://example.com/docs/")
"""

import asyncio
from collections import defaultdict
from functools import partial
from typing import Any

from psycopg import Connection

from cluster.crawls.crawls import Crawl
from cluster.crawls.frontier import rules_of_origin, save_rules
from cluster.crawls.host_turns import hold_back
from cluster.crawls.robots import (
    EVERYTHING_PERMITTED,
    RobotRules,
    nothing_permitted,
)
from cluster.crawls.urls import host_of, origin_of
from cluster.errors import Retryable
from cluster.jobs import attempts
from cluster.outbound import RefusalReason, Refused, TooLarge
from data_jobs.kinds.crawls.polite_client import TOO_MANY_REQUESTS, PoliteClient
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt

#: Maximum number of bytes of a ``robots.txt`` that is received. Only the first ``MAX_ROBOTS_BYTES`` bytes of
#: the file are read.
MAX_RECEIVED_BYTES = 5_000_000
#: Maximum number of requests for one ``robots.txt``, and seconds between two of them.
ROBOTS_ATTEMPTS, ROBOTS_PAUSE_S = 3, 2.0
SUCCESS, CLIENT_ERRORS = range(200, 300), range(400, 500)


class Origins:
    """The rules of the origins that a crawl visits.

    Args:
        resources: has the parsing processes, which read ``robots.txt``.
        attempt: the attempt at the crawl's job.
        crawl: the crawl.
        client: sends the requests.
    """

    def __init__(self, resources: Resources, attempt: JobAttempt, crawl: Crawl, client: PoliteClient) -> None:
        self._parsers, self._agent = resources.parsers, attempt.settings.crawl_user_agent
        self._attempt, self._crawl, self._client = attempt, crawl, client
        self._rules: dict[str, RobotRules] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def rules_of(self, url: str) -> RobotRules:
        """Return the rules of the origin of the URL.

        Raises:
            HostBusy: the host may get the request for ``robots.txt`` only after a long wait.
        """
        origin = origin_of(url)
        async with self._locks[origin]:
            if origin not in self._rules:
                text = await self._stored(origin)
                rules = await self._attempt.in_thread(partial(RobotRules, text, agent=self._agent))
                self._rules[origin] = rules
                # The request for ``robots.txt`` was sent with ``crawl_delay_s=0.0``, because the rules were
                # not known yet. So the host is held back here before its next request.
                wait = partial(hold_back, host=host_of(url), wait_s=rules.crawl_delay_s)
                if rules.crawl_delay_s:
                    await self._attempt.in_transaction(lambda connection: wait(connection))
        return self._rules[origin]

    async def _stored(self, origin: str) -> str:
        find = partial(rules_of_origin, crawl=self._crawl, origin=origin)
        text = await self._attempt.in_transaction(lambda connection: find(connection))
        if text is not None:
            return text
        text = await self._fetched(origin)

        def save(connection: Connection[Any]) -> None:
            attempts.hold(connection, self._attempt.job)
            save_rules(connection, self._crawl, origin, text)

        await self._attempt.in_transaction(save)
        return text

    async def _fetched(self, origin: str) -> str:
        """Fetch ``robots.txt``, and return the text of the rules. As RFC 9309, section 2.3.1, says, an origin
        without a ``robots.txt`` permits everything, and an origin that does not answer permits nothing.
        """
        reason = ""
        for number in range(ROBOTS_ATTEMPTS):
            if number:
                await asyncio.sleep(ROBOTS_PAUSE_S)
            try:
                answer = await self._client.get(
                    f"{origin}/robots.txt",
                    crawl_delay_s=0.0,
                    max_bytes=MAX_RECEIVED_BYTES,
                    follow_redirects=True,
                )
            except Refused as exc:
                redirects = exc.reason == RefusalReason.REDIRECTS
                return EVERYTHING_PERMITTED if redirects else nothing_permitted(str(exc))
            except TooLarge as exc:
                return nothing_permitted(str(exc))
            except Retryable as exc:
                reason = str(exc)
                continue
            if answer.status in SUCCESS:
                rank = self._attempt.job.priority_class.rank
                return await self._parsers.read_robots(
                    answer.body, url=f"{origin}/robots.txt", agent=self._agent, rank=rank
                )
            if answer.status in CLIENT_ERRORS and answer.status != TOO_MANY_REQUESTS:
                return EVERYTHING_PERMITTED
            reason = f"the server answers with {answer.status}"
        return nothing_permitted(reason)
