"""Answer the requests of a page that Chromium renders. Chromium itself has no network.

    requests = PageRequests(client, request)
    await context.route("**/*", requests.answer)

The page gets scripts and data. Pictures, fonts, films, further documents and requests that may change
something on a server are refused.
"""

import base64

from playwright.async_api import Request, Route

from cluster.errors import ClusterError
from cluster.outbound import AsyncOutboundClient
from data_jobs.stages.rendering.contract import RenderRequest

#: Kinds of resources without which a page has the same text.
WITHOUT_TEXT = frozenset({"image", "media", "font", "texttrack", "manifest", "ping"})
#: Headers of a request of the page that are sent, and headers of an answer that the page gets. Cookies and
#: the compression of the body are not among them.
SENT, GIVEN = ("accept", "accept-language", "origin", "referer"), ("content-type",)
CROSS_ORIGIN = "access-control-"


class PageRequests:
    """Answers the requests of one page.

    Args:
        client: sends the requests.
        request: the page, and the limits on its requests.
    """

    def __init__(self, client: AsyncOutboundClient, request: RenderRequest) -> None:
        self._client, self._page = client, request
        self._requests_left, self._bytes_left = request.max_requests, request.max_bytes
        self._page_is_given = False

    async def answer(self, route: Route, request: Request) -> None:
        """Answer a request with the page itself or through the guarded transport, or refuse it."""
        if request.is_navigation_request():
            await self._document(route, request)
        elif request.resource_type == "stylesheet":
            await route.fulfill(status=200, content_type="text/css", body="")
        elif request.method != "GET" or request.resource_type in WITHOUT_TEXT:
            await route.abort("blockedbyclient")
        else:
            await self._fetch(route, request)

    async def _document(self, route: Route, request: Request) -> None:
        """Answer the first request for a document with the page. Refuse frames and further pages, because
        only the text of this page is wanted.
        """
        if self._page_is_given or request.frame.parent_frame is not None:
            await route.abort("aborted")  # other errors replace the page with a page about the error
            return
        self._page_is_given = True
        await route.fulfill(
            status=200, content_type=self._page.content_type, body=base64.b64decode(self._page.body)
        )

    async def _fetch(self, route: Route, request: Request) -> None:
        if self._requests_left <= 0 or self._bytes_left <= 0:
            await route.abort("blockedbyclient")
            return
        self._requests_left -= 1
        # Simultaneous requests reserve nothing, so each answer is counted again after it has arrived.
        try:
            answer = await self._client.get(
                request.url,
                max_bytes=self._bytes_left,
                deadline_s=self._page.timeout_s,
                headers={
                    "user-agent": self._page.user_agent,
                    **{name: value for name, value in request.headers.items() if name in SENT},
                },
            )
        except ClusterError:
            await route.abort("failed")
            return
        self._bytes_left -= len(answer.body)
        if self._bytes_left < 0:
            await route.abort("failed")
            return
        given = {
            name: value
            for name, value in answer.headers.items()
            if name in GIVEN or name.startswith(CROSS_ORIGIN)
        }
        await route.fulfill(status=answer.status, headers=given, body=answer.body)
