"""A web site of three real documentation sets, with the traps that crawlers meet, over TCP on loopback.

    with site_of_traps() as site:
        client = AsyncOutboundClient(site.settings(), resolver=site.resolve)    # in this process
        crawl(site.url("/"))                                                    # http://docs.test:PORT/
        crawl(site.url("/", by_name=False))      # http://127.0.0.21:PORT/, which needs no resolver
        assert {request.path for request in site.requests} ...
        assert not site.inner_requests

``documentation.py`` reads the documentation sets, ``traps.py`` holds the traps, ``server.py`` the server.
"""

from tests.simulators.site.documentation import SETS, documentation
from tests.simulators.site.server import (
    INNER,
    INNER_NAME,
    MAIN,
    MAIN_NAME,
    OTHER_NAME,
    REBINDING_NAME,
    SUBDOMAIN_NAME,
    SitePage,
    SiteRequest,
    TrapSite,
    site_of_traps,
)

__all__ = [
    "INNER",
    "INNER_NAME",
    "MAIN",
    "MAIN_NAME",
    "OTHER_NAME",
    "REBINDING_NAME",
    "SETS",
    "SUBDOMAIN_NAME",
    "SitePage",
    "SiteRequest",
    "TrapSite",
    "documentation",
    "site_of_traps",
]
