"""Requests to addresses that a tenant names. Webhooks and crawls of websites send such requests."""

import ipaddress
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from cluster.settings.values import MIB, AbsolutePath, Concern

#: Start of a valid proxy URL.
PROXY_SCHEME = "http://"


def networks(listed: object) -> object:
    """Split a text at its commas into networks, and write each network in its standard form.

    Raises:
        ValueError: an entry is not a network in CIDR notation, or has bits of a host.
    """
    parts = [part.strip() for part in listed.split(",")] if isinstance(listed, str) else listed
    if not isinstance(parts, list | tuple):
        return parts
    return tuple(str(ipaddress.ip_network(part)) for part in parts if part)


def ports(listed: object) -> object:
    """Split a text at its commas into port numbers."""
    return [part for part in listed.split(",") if part.strip()] if isinstance(listed, str) else listed


Networks = Annotated[tuple[str, ...], NoDecode, BeforeValidator(networks)]
Ports = Annotated[tuple[Annotated[int, Field(ge=1, le=65_535)], ...], NoDecode, BeforeValidator(ports)]


class OutboundSettings(Concern):
    """Requests to addresses that a tenant names: permitted addresses and ports, and the egress proxy."""

    outbound_ports: Ports = ()
    """Ports that such requests may use besides 80 and 443, separated by commas."""

    outbound_allow_cidrs: Networks = ()
    """Networks that such requests may reach although they are not public, such as ``10.2.0.0/16``, separated
    by commas. Every organisation may then reach them."""

    outbound_deny_cidrs: Networks = ()
    """Networks that such requests may never reach, separated by commas. A network in both lists may not be
    reached."""

    outbound_proxy: SecretStr | None = None
    """URL of an HTTP proxy that such requests go through, such as ``http://user:password@proxy:3128``. The
    cluster asks the proxy with ``CONNECT`` for an address that it has checked. Unset: requests go directly.
    The variables ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` have no effect."""

    outbound_proxy_resolves: bool = False
    """True: the cluster sends host names to the proxy and resolves none itself. The proxy must then refuse
    addresses that are not public."""

    outbound_ca_file: AbsolutePath | None = None
    """A PEM file with certificate authorities that such requests trust besides the usual ones."""

    @field_validator("outbound_proxy")
    @classmethod
    def _proxy_is_http(cls, proxy: SecretStr | None) -> SecretStr | None:
        if proxy is not None and not proxy.get_secret_value().startswith(PROXY_SCHEME):
            raise ValueError("outbound_proxy must be a URL that begins with http://")
        return proxy


class WebhookSettings(Concern):
    """Webhooks: limits on endpoints, and the time for which a delivery is attempted."""

    webhook_endpoints: int = Field(default=10, ge=0)
    """Maximum number of webhook endpoints of an organisation. 0: an organisation cannot have webhook
    endpoints.
    """

    webhook_timeout_s: float = Field(default=15.0, gt=0, le=120)
    """Seconds within which an endpoint must answer one attempt."""

    webhook_deadline_s: float = Field(default=259_200.0, gt=0)
    """Seconds after an event until which its deliveries are attempted; three days by default."""

    webhook_disable_after_s: float = Field(default=432_000.0, gt=0)
    """Seconds after which an endpoint is disabled if all attempts fail during this time; five days by
    default.
    """

    webhook_log_days: float = Field(default=30.0, gt=0)
    """Number of days for which a delivery that has ended stays in the delivery log."""


class CrawlSettings(Concern):
    """Crawls of websites: how politely they ask, and limits on their pages."""

    crawl_user_agent: str = Field(default="embedding-cluster", pattern=r"^[A-Za-z_-]{1,60}$")
    """Name with which crawls identify themselves to websites. Rules of ``robots.txt`` for this name, and
    rules for ``*``, apply."""

    crawl_contact_url: str | None = Field(default=None, max_length=500, pattern=r"^https?://[!-~]+$")
    """URL of a page that tells owners of websites who crawls and how to reach you. Crawls send this URL with
    their name. Set it before you crawl websites of others."""

    crawl_requests_per_s: float = Field(default=1.0, gt=0, le=1_000)
    """Maximum number of requests a second to one host, over all crawls of the cluster. A longer
    ``Crawl-delay`` in the host's ``robots.txt`` has precedence."""

    crawl_concurrency_per_host: int = Field(default=2, ge=1, le=100)
    """Maximum number of simultaneous requests to one host, over all crawls of the cluster."""

    crawl_max_pages: int = Field(default=100_000, ge=1)
    """Maximum ``limit`` of a crawl: the number of pages that one crawl requests."""

    crawl_page_bytes: int = Field(default=5_000_000, ge=1_024)
    """Maximum number of bytes of a page, after decompression. Larger pages are not read."""

    crawl_document_bytes: int = Field(default=50_000_000, ge=1_024)
    """Maximum number of bytes of a linked document, such as a PDF. The end of the URL tells that it is a
    document."""

    crawl_page_timeout_s: float = Field(default=30.0, gt=0, le=600)
    """Seconds within which a page must arrive whole. A server that sends a page very slowly loses it."""


class BrowserSettings(Concern):
    """Rendering of web pages in a headless Chromium, with limits on time, requests and memory."""

    browser: Literal["auto", "off"] = "auto"
    """Rendering of web pages that show their text only after their scripts ran. ``auto`` renders them on
    nodes with Chromium and the extra ``browser``. ``off`` renders nothing."""

    browser_program: AbsolutePath | None = None
    """The program of Chromium. Unset: ``chromium``, ``chromium-browser`` or ``google-chrome`` on the path of
    programs."""

    browser_sandbox: bool = True
    """True: Chromium isolates pages with its own sandbox, which needs user namespaces and a user other than
    root. False: pages run without this sandbox. Set it to false only if the container itself isolates the
    worker."""

    browser_timeout_s: float = Field(default=30.0, gt=0, le=300)
    """Seconds within which a page must be rendered."""

    browser_requests: int = Field(default=100, ge=0)
    """Maximum number of requests that a page may send while it is rendered, for scripts and data."""

    browser_bytes: int = Field(default=20_000_000, ge=1_024)
    """Maximum number of bytes of the answers to all these requests, after decompression."""

    browser_memory_bytes: int = Field(default=2_048 * MIB, ge=256 * MIB)
    """Maximum memory of the processes that render one page. Above the limit, they are killed."""
