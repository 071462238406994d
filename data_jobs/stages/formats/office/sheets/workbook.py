"""Read the parts of a workbook of Excel that its sheets refer to: shared texts and number formats.

strings = SharedStrings()
read_stream(package.read("xl/sharedStrings.xml"), strings)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from xml.etree.ElementTree import Element

from data_jobs.stages.formats.office.sheets.number_format import GENERAL
from data_jobs.stages.formats.office.word.styles import number
from data_jobs.stages.formats.office.xml_tree import children

#: Number formats with an id and without a code in the file (ECMA-376 part 1, section 18.8.30). If a format of
#: dates depends on the language of Excel, the notation of ISO 8601 replaces the format.
BUILT_IN: Mapping[int, str] = {
    1: "0",
    2: "0.00",
    3: "#,##0",
    4: "#,##0.00",
    9: "0%",
    10: "0.00%",
    11: "0.00E+00",
    12: "# ?/?",
    13: "# ??/??",
    14: "yyyy-mm-dd",
    15: "d-mmm-yy",
    16: "d-mmm",
    17: "mmm-yy",
    18: "h:mm AM/PM",
    19: "h:mm:ss AM/PM",
    20: "h:mm",
    21: "h:mm:ss",
    22: "yyyy-mm-dd h:mm",
    37: "#,##0 ;(#,##0)",
    38: "#,##0 ;(#,##0)",
    39: "#,##0.00;(#,##0.00)",
    40: "#,##0.00;(#,##0.00)",
    45: "mm:ss",
    46: "[h]:mm:ss",
    47: "mm:ss.0",
    48: "##0.0E+0",
    49: "@",
    **dict.fromkeys([*range(27, 32), 36, *range(50, 55), 57, 58], "yyyy-mm-dd"),
    **dict.fromkeys([32, 33, 34, 35, 55, 56], "h:mm:ss"),
}


#: A character that XML cannot hold, as Excel writes it (ECMA-376 part 1, section 22.4.2.4).
ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")


def unescape(text: str) -> str:
    """Return the text with characters in place of the escapes that Excel writes, such as "_x000D_"."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), text) if "_x" in text else text


def cell_formats(styles: Element | None) -> list[str]:
    """Return the number format of each cell style, by the index that cells use."""
    custom = {
        number(element.get("numFmtId", "")): element.get("formatCode", "")
        for element in children(styles, "x:numFmts", "x:numFmt")
    }
    ids = [number(element.get("numFmtId", "0")) for element in children(styles, "x:cellXfs", "x:xf")]
    return [custom.get(id) or BUILT_IN.get(id, GENERAL) for id in ids]


@dataclass(kw_only=True, slots=True)
class SharedStrings:
    """Receives the XML of the texts that cells share, as an ``XmlHandler``."""

    #: The texts by their index.
    texts: list[str] = field(default_factory=list)
    _parts: list[str] = field(default_factory=list)
    _is_shown: bool = False
    _phonetic: int = 0

    def start(self, name: str, _: Mapping[str, str]) -> None:
        """Receive the start of an element. The pronunciation of a text is left out."""
        if name == "si":
            self._parts = []
        elif name == "rPh":
            self._phonetic += 1
        elif name == "t":
            self._is_shown = not self._phonetic

    def end(self, name: str) -> None:
        """Receive the end of an element."""
        if name == "si":
            self.texts.append(unescape("".join(self._parts)))
        elif name == "rPh":
            self._phonetic -= 1
        elif name == "t":
            self._is_shown = False

    def text(self, text: str) -> None:
        """Receive text."""
        if self._is_shown:
            self._parts.append(text)
