"""Reads ``robots.txt`` (RFC 9309), and decides which URLs of the origin a crawl may request.

rules = RobotRules(kept_rules(body, agent="embedding-cluster"), agent="embedding-cluster")
rules.permits("https://example.com/private/")      # False
rules.crawl_delay_s                                # 5.0
"""

import math
import re

from protego import Protego

#: Maximum number of bytes of a ``robots.txt`` that are read. RFC 9309 requires at least 500 KiB.
MAX_ROBOTS_BYTES = 512 * 1024
#: Maximum number of characters of the rules that are made from these bytes. A new name of a user agent makes
#: a line longer, but not twice as long.
MAX_RULES_CHARACTERS = 2 * MAX_ROBOTS_BYTES
#: Maximum ``Crawl-delay`` in seconds. A longer delay is shortened to this number of seconds.
MAX_CRAWL_DELAY_S = 86_400.0
USER_AGENT = re.compile(r"\s*user[ -]?agent\s*:?\s*([^#]*)", re.IGNORECASE)
#: Beginning of the rules of an origin whose ``robots.txt`` could not be read. The reason follows on the same
#: line.
UNREADABLE = "# robots.txt could not be read: "
EVERYTHING_PERMITTED = ""


def nothing_permitted(reason: str) -> str:
    """Return the rules of an origin whose ``robots.txt`` could not be read. These rules forbid everything."""
    return f"{UNREADABLE}{reason}\nUser-agent: *\nDisallow: /\n"


def kept_rules(body: bytes, *, agent: str) -> str:
    """Return the text of a ``robots.txt``. All user agents other than ours get the same name, ``other``.

    A hostile file can name thousands of user agents and thousands of rules for each user agent. With all
    these names, the parser would store millions of rules. Only the parsing process calls this function.

    Args:
        body: the bytes of the ``robots.txt``; only the first ``MAX_ROBOTS_BYTES`` are read.
        agent: our name, the setting ``CLUSTER_CRAWL_USER_AGENT``.
    """
    text = body[:MAX_ROBOTS_BYTES].decode("utf-8", "replace").replace("\0", "\ufffd")
    lines = []
    for line in text.splitlines():
        named = USER_AGENT.match(line)
        if named is not None:
            name = named[1].strip().lower()
            ours = name == "*" or (name and name.replace("*", "") in agent.lower())
            line = f"User-agent: {name}" if ours else "User-agent: other"
        lines.append(line)
    return "\n".join(lines)


class RobotRules:
    """The rules of one origin.

    Args:
        text: a result of ``kept_rules`` or ``nothing_permitted``, or ``EVERYTHING_PERMITTED``.
        agent: our name, as in ``kept_rules``.
    """

    def __init__(self, text: str, *, agent: str) -> None:
        self._rules, self._agent = Protego.parse(text), agent
        #: The reason why ``robots.txt`` could not be read; None if it was read, or if the origin has none.
        self.unreadable = (
            text.partition("\n")[0].removeprefix(UNREADABLE) if text.startswith(UNREADABLE) else None
        )

    def permits(self, url: str) -> bool:
        """Return True if the rules permit a request for the URL."""
        return self._rules.can_fetch(url, self._agent)

    @property
    def crawl_delay_s(self) -> float:
        """Minimum seconds between two requests; 0 if the rules have no ``Crawl-delay``."""
        delay_s = self._rules.crawl_delay(self._agent) or 0.0
        return min(delay_s, MAX_CRAWL_DELAY_S) if math.isfinite(delay_s) and delay_s > 0 else 0.0

    @property
    def sitemaps(self) -> list[str]:
        """The URLs of the sitemaps that ``robots.txt`` names."""
        return list(self._rules.sitemaps)
