"""The job that sends webhook events to endpoints of organisations, many at the same time.

``worker.webhook_turns`` submits this job when a delivery is due. The job runs for about a minute, and sends
each delivery that is due or becomes due in this time. A later job sends the rest.
"""

import asyncio
import time
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import structlog
from psycopg import Connection

from cluster.errors import Misconfigured
from cluster.jobs import attempts
from cluster.outbound import AsyncOutboundClient
from cluster.secrets import Secret, open_cipher
from cluster.secrets.webhook_secrets import valid_secrets
from cluster.webhooks import outbox
from cluster.webhooks.deliveries import DeliveryState
from cluster.webhooks.outbox import ClaimedDelivery
from cluster.webhooks.sending import event_body, not_signed, send
from data_jobs.kinds.resources import Resources
from data_jobs.worker.job_attempt import JobAttempt

log = structlog.get_logger(__name__)

#: Maximum number of deliveries that a job sends at the same time.
IN_FLIGHT = 128
#: A job claims no more deliveries after this many seconds.
RUN_S = 60.0
#: Maximum seconds between two searches for due deliveries.
POLL_S = 1.0
#: Minimum seconds between two searches for due deliveries.
PAUSE_S = 0.02
#: Number of seconds by which the lease of a delivery is longer than the time limit of an attempt.
LEASE_MARGIN_S = 15.0

Secrets = dict[tuple[str, str], list[Secret] | Misconfigured]


@dataclass
class DeliverWebhooks:
    """Runs jobs of the kind ``DELIVER_WEBHOOKS``; the worker calls an instance with each attempt."""

    resources: Resources
    _client: AsyncOutboundClient | None = None

    async def __call__(self, attempt: JobAttempt) -> None:
        # Loading the certificate authorities takes long, so one client serves all jobs of a worker.
        self._client = self._client or AsyncOutboundClient(attempt.settings)
        run = DeliveryRun(attempt, self._client)
        await attempt.stage("deliver", run)
        result = {"succeeded": run.ended[DeliveryState.SUCCEEDED], "failed": run.ended[DeliveryState.FAILED]}
        await attempt.in_transaction(
            lambda connection: attempts.finish(connection, attempt.job, result=result)
        )


class DeliveryRun:
    """Sends the deliveries of one attempt at a job."""

    def __init__(self, attempt: JobAttempt, client: AsyncOutboundClient) -> None:
        self._attempt = attempt
        self._client = client
        self._holder = uuid4().hex
        #: For each state, the number of attempts to deliver after which the delivery had this state.
        self.ended = dict.fromkeys(DeliveryState, 0)

    async def __call__(self) -> None:
        """Send deliveries until no delivery is due, or until ``RUN_S`` seconds have passed. Then wait until
        all attempts have ended.
        """
        ends_at = time.monotonic() + RUN_S
        sending: set[asyncio.Task[None]] = set()
        try:
            while True:
                if time.monotonic() < ends_at and len(sending) < IN_FLIGHT:
                    claimed, secrets = await self._attempt.in_transaction(
                        partial(self._claim, IN_FLIGHT - len(sending))
                    )
                    sending |= {asyncio.create_task(self._deliver(one, secrets)) for one in claimed}
                if not sending:
                    return
                done, sending = await asyncio.wait(
                    sending, timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    task.result()
                await self._attempt.progress(sum(self.ended.values()))
                self._attempt.goes_on()
                await asyncio.sleep(PAUSE_S)
        finally:
            # Deliveries whose attempt is cancelled here are due again soon, when their leases end.
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    def _claim(self, limit: int, connection: Connection[Any]) -> tuple[list[ClaimedDelivery], Secrets]:
        """Claim at most ``limit`` due deliveries, and read the secrets of their endpoints."""
        settings = self._attempt.settings
        lease_s = settings.webhook_timeout_s + LEASE_MARGIN_S
        claimed = outbox.claim(connection, self._holder, limit=limit, lease_s=lease_s)
        secrets: Secrets = {}
        for key in {(one.organisation, one.endpoint) for one in claimed}:
            try:
                secrets[key] = valid_secrets(connection, open_cipher(settings.secret_key), *key)
            except Misconfigured as exc:
                log.error("webhook_not_signed", organisation=key[0], endpoint=key[1], reason=str(exc))
                secrets[key] = exc
        return claimed, secrets

    async def _deliver(self, claimed: ClaimedDelivery, secrets: Secrets) -> None:
        settings, keys = self._attempt.settings, secrets[claimed.organisation, claimed.endpoint]
        if isinstance(keys, Misconfigured):
            result = not_signed(keys)
        else:
            body = event_body(claimed.event, claimed.type, claimed.data, created_at=claimed.created_at)
            result = await send(
                self._client, claimed.url, claimed.event, body, keys, timeout_s=settings.webhook_timeout_s
            )
        state = await self._attempt.in_transaction(
            lambda connection: outbox.end_attempt(
                connection, claimed, self._holder, result, settings=settings
            )
        )
        if state is not None:
            self.ended[state] += 1
