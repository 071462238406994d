"""OpenAI's unmodified client accepts our signatures, and only those."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai import InvalidWebhookSignatureError, OpenAI

from cluster.secrets import Secret
from cluster.webhooks.signature import new_secret, signed_headers

BODY = (
    '{"id":"evt_1","object":"event","type":"batch.completed","created_at":1,"data":{"id":"bätch"}}'.encode()
)


Unwrap = Callable[[dict[str, str], bytes, Secret], Any]


@pytest.fixture(scope="module")
def unwrap() -> Iterator[Unwrap]:
    """Check and read a request as a receiver does, with OpenAI's client."""
    with OpenAI(api_key="none needed", base_url="http://127.0.0.1:9/v1") as client:
        yield lambda headers, body, secret: client.webhooks.unwrap(body, headers, secret=secret.reveal())


def test_the_signature_of_the_specification() -> None:
    # The example of https://github.com/standard-webhooks/standard-webhooks
    secret = Secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    headers = signed_headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}', [secret], at=1614265330)
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_openais_client_accepts_the_current_and_the_earlier_secret(unwrap: Unwrap) -> None:
    current, earlier, other = new_secret(), new_secret(), new_secret()
    headers = signed_headers("evt_1", BODY, [current, earlier], at=int(time.time()))

    for secret in (current, earlier):
        event = unwrap(headers, BODY, secret)
        assert (event.type, event.data.id) == ("batch.completed", "bätch")
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, BODY, other)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, BODY + b" ", current)


def test_a_repeated_request_of_an_earlier_hour_is_refused(unwrap: Unwrap) -> None:
    secret = new_secret()
    headers = signed_headers("evt_1", BODY, [secret], at=int(time.time()) - 3_600)
    with pytest.raises(InvalidWebhookSignatureError):
        unwrap(headers, BODY, secret)
