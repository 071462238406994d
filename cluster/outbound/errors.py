"""The errors of requests to the outside. Their messages may be shown to the tenant who named the URL.

So a message never contains an address that a host name resolved to, nor anything that a server answered.
"""

from enum import StrEnum

from cluster.errors import Permanent, Retryable
from cluster.event_counts import EventCount


class RefusalReason(StrEnum):
    """The reason for which the transport refuses a request or does not follow a redirect."""

    #: The text is not an absolute URL with a valid host.
    URL = "url"
    #: The scheme is neither http nor https.
    SCHEME = "scheme"
    #: The URL contains a user name or a password.
    USERINFO = "userinfo"
    #: The port is neither 80 nor 443, and the operator has not permitted it.
    PORT = "port"
    #: At least one address of the host is not public, or the operator denies it.
    ADDRESS = "address"
    #: There are more redirects than the client follows.
    REDIRECTS = "redirects"
    #: The answer has a compression that was not asked for.
    ENCODING = "encoding"


REFUSED_REQUESTS = EventCount(
    "outbound_refusals", "Requests to URLs of tenants that are refused, by reason", "reason", RefusalReason
)


class Refused(Permanent):
    """Raised if the transport does not permit the request.

    Args:
        message: names the rule.
        reason: the reason, for programs.
    """

    # ``reason`` has a default because unpickling passes the message alone and sets the attributes later.
    def __init__(self, message: str, *, reason: RefusalReason = RefusalReason.URL) -> None:
        super().__init__(message)
        self.reason = reason


class TooLarge(Permanent):
    """Raised if the body of the answer has more bytes than the caller accepts."""


class DeadlineExceeded(Retryable):
    """Raised if the request, with all redirects and the whole body, took longer than the caller accepts."""


class NoAnswer(Retryable):
    """Raised if the host did not resolve, did not accept the connection, has no valid certificate, or did not
    send a complete and valid answer in HTTP.
    """
