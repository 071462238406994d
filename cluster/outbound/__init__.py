"""Send requests to URLs that a tenant named, through one transport that checks every address.

client = OutboundClient(settings)
answer = client.get("https://example.com/robots.txt", max_bytes=500_000, deadline_s=10)
"""

from cluster.outbound.client import AsyncOutboundClient, OutboundAnswer, OutboundClient
from cluster.outbound.errors import DeadlineExceeded, NoAnswer, RefusalReason, Refused, TooLarge

__all__ = [
    "AsyncOutboundClient",
    "DeadlineExceeded",
    "NoAnswer",
    "OutboundAnswer",
    "OutboundClient",
    "RefusalReason",
    "Refused",
    "TooLarge",
]
