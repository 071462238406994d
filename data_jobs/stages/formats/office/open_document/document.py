"""Open an OpenDocument file, and look up its styles.

document = OpenDocument(data)
document.content                                # the root of content.xml
document.styles.family_name("P3")               # "Title": the named style on which P3 is based
"""

from collections.abc import Iterator
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from cluster.records import Outcome
from data_jobs.stages.formats.contract import Unreadable
from data_jobs.stages.formats.office.package import Package
from data_jobs.stages.formats.office.word.styles import number
from data_jobs.stages.formats.office.xml_tree import first, read_tree

CONTENT, STYLES, MANIFEST = "content.xml", "styles.xml", "META-INF/manifest.xml"
#: An entry of the manifest has this element if the part is encrypted.
ENCRYPTED = b"encryption-data"
#: Maximum number of styles on which a style is based, directly or not. Real documents have about five.
MAX_BASES = 50
#: Number of levels of a list.
LEVELS = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class ListLevel:
    """Says how one level of a list is numbered."""

    #: Format of the numbers: "1", "a", "A", "i", "I"; "" for a list without numbers.
    format: str
    prefix: str
    suffix: str
    start: int
    #: Number of levels whose numbers are shown.
    shown_levels: int


class OpenDocument:
    """Holds the parts of one file that parsers need.

    Raises:
        Unreadable: the file is damaged or protected by a password.
    """

    def __init__(self, data: bytes) -> None:
        self.package = Package(data)
        refuse_encrypted(self.package)
        self.content = read_tree(self.package.read(CONTENT))
        styles = self.package.read_if_whole(STYLES)
        self.style_part = read_tree(styles) if styles else None
        self.styles = OdfStyles(self.content, self.style_part)

    def body(self, tag: str) -> Element:
        """Return the body of the document.

        Raises:
            Unreadable: the document has no body of this kind.
        """
        found = first(self.content, tag)
        if found is None:
            raise Unreadable(Outcome.CORRUPT, "is damaged: its content is not that of its type")
        return found

    def embedded_text(self, href: str) -> str:
        """Return the text of a chart or a formula that is embedded in the document, or ""."""
        part = f"{href.removeprefix('./')}/{CONTENT}"
        data = self.package.read_if_whole(part)
        if not data:
            return ""
        root = read_tree(data)
        lines = ("".join(paragraph.itertext()) for paragraph in root.iter("text:p"))
        shown = [line for line in lines if line.strip()]
        return "\n".join(shown) if shown else "".join(root.itertext())


def refuse_encrypted(package: Package) -> None:
    """Refuse a document whose parts are encrypted.

    Raises:
        Unreadable: a part is encrypted; the outcome is ``encrypted``.
    """
    if ENCRYPTED in package.read_if_whole(MANIFEST):
        raise Unreadable(
            Outcome.ENCRYPTED, "is protected by a password: remove the protection and ingest it again"
        )


class OdfStyles:
    """Looks up the styles of one document.

    Args:
        parts: the roots of the parts with styles; None for a missing part.
    """

    def __init__(self, *parts: Element | None) -> None:
        self._styles: dict[tuple[str, str], Element] = {}
        self._lists: dict[str, dict[int, ListLevel]] = {}
        self.outline: dict[int, ListLevel] = {}
        for part in parts:
            for element in () if part is None else part.iter():
                if element.tag == "style:style":
                    key = element.get("style:family", ""), element.get("style:name", "")
                    self._styles.setdefault(key, element)
                elif element.tag == "text:list-style":
                    self._lists.setdefault(element.get("style:name", ""), _levels(element))
                elif element.tag == "text:outline-style":
                    self.outline = _levels(element)

    def names(self, style: str) -> list[str]:
        """Return the names of a paragraph style and of the styles on which it is based."""
        return [
            element.get("style:display-name") or element.get("style:name", "").replace("_20_", " ")
            for element in self._with_bases("paragraph", style)
        ]

    def has(self, family: str, style: str, attribute: str, value: str) -> bool:
        """Return True if this property of a style has this value. A style without the property has the value
        of the style on which it is based.
        """
        for element in self._with_bases(family, style):
            for properties in element:
                if (found := properties.get(attribute)) is not None:
                    return found == value
        return False

    def list_style(self, paragraph_style: str) -> str:
        """Return the list style that a paragraph style names, or ""."""
        found = (
            element.get("style:list-style-name") for element in self._with_bases("paragraph", paragraph_style)
        )
        return next((name for name in found if name), "")

    def list_level(self, style: str, level: int) -> ListLevel | None:
        """Return how a list numbers a level, from 0; None if the list is unknown."""
        return self._lists.get(style, {}).get(level)

    def _with_bases(self, family: str, style: str) -> Iterator[Element]:
        seen: set[str] = set()
        while (family, style) in self._styles and style not in seen and len(seen) < MAX_BASES:
            seen.add(style)
            element = self._styles[family, style]
            yield element
            style = element.get("style:parent-style-name", "")


def _levels(style: Element) -> dict[int, ListLevel]:
    return {
        level: ListLevel(
            format=element.get("style:num-format", ""),
            prefix=element.get("style:num-prefix", ""),
            suffix=element.get("style:num-suffix", ""),
            start=number(element.get("text:start-value", "1"), 1),
            shown_levels=min(number(element.get("text:display-levels", "1"), 1), LEVELS),
        )
        for element in style
        if 0 <= (level := number(element.get("text:level", "0")) - 1) < LEVELS
    }
