"""Find the main content of a web page: the element that holds it, and the parts of this element to leave out.

    content = main_content(LexborHTMLParser(markup))
    content.root, content.dropped      # an element, and the ids of elements inside it to leave out

Menus, banners and footers are recognised by their elements and roles, by the names of their classes, and by
the share of their text that is links. If less than a fifth of the body's words would be left, only the
elements and roles decide.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

from data_jobs.stages.formats.html import SILENT

#: Elements that are never main content.
NEVER = SILENT | frozenset(
    "nav svg canvas button input select textarea datalist dialog menu object embed audio video map head "
    "frame frameset".split()
)
#: Elements that are no main content outside ``article`` and ``main``.
OUTSIDE = frozenset({"header", "footer", "aside"})
#: Roles of WAI-ARIA that are never main content.
ROLES = frozenset(
    "navigation banner contentinfo search menu menubar toolbar tablist dialog alertdialog "
    "complementary".split()
)
#: Words in the names of classes and ids that mark parts around the main content.
HINTS = re.compile(
    r"(?:^|[-_])(?:nav|navs?bar|navigation|navheader|navfooter|menus?|mainmenu|submenu|sidemenu|topmenu|menubar"
    r"|sidebar|sidenav|toc|breadcrumbs?|crumbs?|pagination|pager|footer|header|topbar|banner|masthead"
    r"|cookies?|consent|gdpr|newsletter|subscribe|signup|login|share|sharing|social|related|recommended"
    r"|promo|advert(?:isement)?s?|ads?|sponsors?|skip(?:link)?|search(?:box|bar)?|nosearch|noprint|print|comments?"
    r"|disqus|feedback|editlink|prevnext|gnav|toolbar|popup|modal|widget|meta|byline|tags?)(?:$|[-_])",
    re.IGNORECASE,
)
#: Whole names of classes and ids that mark parts around the main content.
HINTED_NAMES = frozenset({"contents"})
CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
#: Blocks with a hint in their class or id are dropped if at least this share of their words are links, or if
#: they have at most ``FEW_WORDS`` words and no heading.
HINTED_LINKS, FEW_WORDS = 0.4, 40
#: On a page without a main element, a block without headings is a menu if it has at least this many links and
#: at least this share of its words are links.
MENU_LINKS, MENU_SHARE = 3, 0.75
#: Elements that can hold the main content, the best first.
MAINS = ("main", "[role=main]", "article", "[itemprop=articleBody]")
#: An element counts as the main element if it has at least this share of the body's words.
MAIN_SHARE = 0.4
#: If the main content has less than this share of the body's words, hints and shares of links are ignored.
FALLBACK_SHARE = 0.2
HEADINGS = frozenset({"h1", "h2", "h3", "h4", "h5", "h6"})
#: Elements that can be a menu.
GROUPS = frozenset({"div", "ul", "ol", "section", "table", "form", "p", "center", "td", "dl", "span"})
WORD = re.compile(r"\w+")


@dataclass(frozen=True, kw_only=True, slots=True)
class MainContent:
    """Says where the main content of a page is."""

    root: LexborNode
    #: ``mem_id`` of each element inside ``root`` that is left out with its whole content.
    dropped: frozenset[int]


@dataclass(slots=True)
class _ElementCounts:
    """Numbers of words and links inside one element, without parts that are never main content."""

    words: int = 0
    link_words: int = 0
    links: int = 0
    headings: int = 0

    def add(self, other: "_ElementCounts") -> None:
        self.words += other.words
        self.link_words += other.link_words
        self.links += other.links
        self.headings += other.headings


@dataclass(slots=True)
class _BodySurvey:
    """The counts of each element of a page, and the elements that are never main content."""

    counts: dict[int, _ElementCounts] = field(default_factory=dict)
    never: set[int] = field(default_factory=set)


def main_content(tree: LexborHTMLParser) -> MainContent | None:
    """Return where the main content of the page is; None if the page has no body."""
    body = tree.body
    if body is None:
        return None
    survey = _survey(body)
    words = survey.counts[body.mem_id].words
    root = _main_element(tree, body, survey, words)
    dropped = _dropped(root, survey, is_body=root.mem_id == body.mem_id)
    if _left(root, survey, dropped) < FALLBACK_SHARE * words:
        return MainContent(root=body, dropped=frozenset(survey.never))
    return MainContent(root=root, dropped=frozenset(survey.never | dropped))


def walk(
    root: LexborNode, skipped: frozenset[int] | set[int] = frozenset()
) -> Iterator[tuple[LexborNode, bool]]:
    """Yield each node under ``root`` and ``root`` itself in the order of the document, without recursion: an
    element at its start with True, and again at its end with False. A text is yielded once, with True.

    Args:
        root: the element to begin with.
        skipped: ``mem_id`` of elements that are left out.
    """
    node: LexborNode | None = root
    above: list[LexborNode] = []
    while node is not None:
        is_open = node.mem_id not in skipped
        child = None
        if is_open:
            yield node, True
            child = node.first_child if node.tag != "-text" else None
        if child is not None:
            above.append(node)
            node = child
            continue
        if is_open and node.tag != "-text":
            yield node, False
        following = node.next if above else None
        while following is None and above:
            node = above.pop()
            yield node, False
            following = node.next if above else None
        node = following


def _survey(body: LexborNode) -> _BodySurvey:
    survey = _BodySurvey()
    open_counts: list[_ElementCounts] = []
    silent = articles = links = 0
    for node, begins in walk(body):
        tag = node.tag or ""
        if tag == "-text":
            if not silent:
                words = len(WORD.findall(node.text_content or ""))
                open_counts[-1].words += words
                open_counts[-1].link_words += words if links else 0
            continue
        if begins:
            counts = _ElementCounts(links=int(tag == "a"), headings=int(tag in HEADINGS))
            open_counts.append(counts)
            survey.counts[node.mem_id] = counts
            articles += tag in {"article", "main"}
            links += tag == "a"
            if _is_never(node, tag, outside=not articles):
                survey.never.add(node.mem_id)
                silent += 1
            continue
        counts = open_counts.pop()
        articles -= tag in {"article", "main"}
        links -= tag == "a"
        if node.mem_id in survey.never:
            silent -= 1
        elif open_counts:
            open_counts[-1].add(counts)
    return survey


def _is_never(node: LexborNode, tag: str, *, outside: bool) -> bool:
    if tag == "body":
        return False
    if tag in NEVER or (outside and tag in OUTSIDE):
        return True
    attributes = node.attributes
    if not attributes:
        return False
    role = (attributes.get("role") or "").lower()
    return (
        role in ROLES
        or ("hidden" in attributes and attributes["hidden"] != "until-found")
        or (attributes.get("aria-hidden") or "").lower() == "true"
        or "display:none" in (attributes.get("style") or "").replace(" ", "").lower()
    )


def _main_element(tree: LexborHTMLParser, body: LexborNode, survey: _BodySurvey, words: int) -> LexborNode:
    for selector in MAINS:
        found = [
            node
            for node in tree.css(selector)
            if node.mem_id in survey.counts and survey.counts[node.mem_id].words >= MAIN_SHARE * words
        ]
        if found:
            return found[0]
    return body


def _dropped(root: LexborNode, survey: _BodySurvey, *, is_body: bool) -> set[int]:
    """Return the elements under ``root`` whose names or links show that they are not main content."""
    dropped: set[int] = set()
    total = survey.counts[root.mem_id].words
    skipping: int | None = None
    for node, begins in walk(root, survey.never):
        if node.tag == "-text" or node.mem_id == root.mem_id:
            continue
        if skipping is not None:
            if not begins and node.mem_id == skipping:
                skipping = None
            continue
        if begins and node.tag in GROUPS and _is_around(node, survey.counts[node.mem_id], total, is_body):
            dropped.add(node.mem_id)
            skipping = node.mem_id
    return dropped


def _is_around(node: LexborNode, counts: _ElementCounts, total: int, is_body: bool) -> bool:
    if counts.words * 2 > total:
        return False
    share = counts.link_words / counts.words if counts.words else 0.0
    if _is_hinted(node) and (share >= HINTED_LINKS or (counts.words <= FEW_WORDS and not counts.headings)):
        return True
    return is_body and not counts.headings and counts.links >= MENU_LINKS and share >= MENU_SHARE


def _is_hinted(node: LexborNode) -> bool:
    attributes = node.attributes
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}".split()
    return any(name in HINTED_NAMES or HINTS.search(CAMEL.sub("-", name)) for name in names)


def _left(root: LexborNode, survey: _BodySurvey, dropped: set[int]) -> int:
    return survey.counts[root.mem_id].words - sum(survey.counts[id].words for id in dropped)
