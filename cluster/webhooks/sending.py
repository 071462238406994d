"""Send one event to one webhook endpoint. Workers call this module for deliveries, and the HTTP endpoint
calls it for test events.

body = event_body("evt_1", "job.succeeded", {"id": "job_1"}, created_at=now)
result = await send(client, url, "evt_1", body, secrets, timeout_s=15)
"""

import time
from collections.abc import Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any

from cluster.errors import ClusterError
from cluster.outbound import AsyncOutboundClient, DeadlineExceeded, NoAnswer, Refused
from cluster.retrying import requested_wait_s
from cluster.secrets import Secret
from cluster.text.well_formed import json_bytes
from cluster.webhooks.outbox import AttemptResult
from cluster.webhooks.signature import signed_headers

#: Maximum number of seconds for which an endpoint may ask to wait.
LONGEST_RETRY_AFTER_S = 14_400.0


def event_body(id: str, type: str, data: dict[str, Any], *, created_at: datetime) -> bytes:
    """Return the body of a request, with the fields of OpenAI's events."""
    event = {
        "id": id,
        "object": "event",
        "created_at": int(created_at.timestamp()),
        "type": type,
        "data": data,
    }
    return json_bytes(event)


async def send(
    client: AsyncOutboundClient,
    url: str,
    event: str,
    body: bytes,
    keys: Sequence[Secret],
    *,
    timeout_s: float,
) -> AttemptResult:
    """Send the event once. Redirects are not followed, because the signature is meant for one receiver.

    The body of the answer is not read.

    Args:
        event: id of the event.
        keys: the valid secrets of the endpoint.
    """
    headers = {
        "content-type": "application/json",
        **signed_headers(event, body, keys, at=int(time.time())),
    }
    try:
        answer = await client.post(
            url, content=body, headers=headers, max_bytes=0, deadline_s=timeout_s, follow_redirects=False
        )
    except (Refused, NoAnswer, DeadlineExceeded) as exc:
        return AttemptResult(error=str(exc))
    status = answer.status
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return AttemptResult(status=status)
    wait_s = requested_wait_s(answer.headers.get("retry-after"), most_s=LONGEST_RETRY_AFTER_S)
    return AttemptResult(
        status=status,
        error=_sentence(status),
        retry_after_s=wait_s or 0.0,
        gone=status == HTTPStatus.GONE,
    )


def not_signed(exc: ClusterError) -> AttemptResult:
    """Return the result of an attempt that the cluster could not sign, because a setting of the operator is
    wrong.
    """
    # The error is not shown to the tenant, because its message names a setting of the operator. The worker
    # logs the error.
    del exc
    return AttemptResult(
        error="the cluster cannot decrypt the secret of the endpoint; ask its operator",
        endpoint_failed=False,
    )


def _sentence(status: int) -> str:
    if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST:
        return f"the endpoint answered {status}; redirects are not followed, so change the URL"
    return f"the endpoint answered {status}"
