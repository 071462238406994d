"""Small documents of office programs, written by hand so that a test shows the XML that it is about."""

from collections.abc import Mapping
from io import BytesIO
from types import MappingProxyType
from zipfile import ZIP_DEFLATED, ZipFile

OFFICE = "http://schemas.openxmlformats.org"
RELATIONSHIPS = f"{OFFICE}/officeDocument/2006/relationships"
NAMESPACES = {
    "w": f"{OFFICE}/wordprocessingml/2006/main",
    "r": RELATIONSHIPS,
    "x": f"{OFFICE}/spreadsheetml/2006/main",
    "a": f"{OFFICE}/drawingml/2006/main",
    "p": f"{OFFICE}/presentationml/2006/main",
    "c": f"{OFFICE}/drawingml/2006/chart",
    "m": f"{OFFICE}/officeDocument/2006/math",
    "wp": f"{OFFICE}/drawingml/2006/wordprocessingDrawing",
    "mc": f"{OFFICE}/markup-compatibility/2006",
    "wps": "http://schemas.microsoft.com/office/word/2010/wordprocessingShape",
    "v": "urn:schemas-microsoft-com:vml",
}
DECLARED = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())


def zip_of(entries: Mapping[str, str | bytes]) -> bytes:
    """Pack the entries in their order."""
    packed = BytesIO()
    with ZipFile(packed, "w", ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return packed.getvalue()


def xml(tag: str, content: str, attributes: str = "") -> str:
    """An XML part whose root element declares all the namespaces."""
    return f'<?xml version="1.0" encoding="UTF-8"?><{tag} {DECLARED} {attributes}>{content}</{tag}>'


def relationships(**targets: tuple[str, str]) -> str:
    """A part of relationships: the kind and the target of each, by its id."""
    rows = "".join(
        f'<Relationship Id="{id}" Type="{RELATIONSHIPS}/{kind}" Target="{target}"/>'
        for id, (kind, target) in targets.items()
    )
    return f'<Relationships xmlns="{OFFICE}/package/2006/relationships">{rows}</Relationships>'


def docx_of(body: str, **parts: str) -> bytes:
    """A Word document.

    Args:
        body: XML of its paragraphs and tables.
        parts: the content of further parts by their kind, such as ``styles``.
    """
    roots = {
        "styles": "w:styles",
        "numbering": "w:numbering",
        "footnotes": "w:footnotes",
        "header": "w:hdr",
        "footer": "w:ftr",
        "chart": "c:chartSpace",
    }
    related = {f"r{kind}": (kind, f"{kind}.xml") for kind in parts}
    return zip_of(
        {
            "[Content_Types].xml": content_types("word/document.xml", "wordprocessingml.document"),
            "_rels/.rels": relationships(r1=("officeDocument", "word/document.xml")),
            "word/document.xml": xml("w:document", f"<w:body>{body}</w:body>"),
            "word/_rels/document.xml.rels": relationships(**related),
            **{f"word/{kind}.xml": xml(roots[kind], content) for kind, content in parts.items()},
        }
    )


def pptx_of(*slides: str, hidden: int = 0, notes: str = "", **parts: str) -> bytes:
    """A presentation.

    Args:
        slides: XML of the shapes of each slide.
        hidden: number of the slide that is hidden; 0 for none.
        notes: XML of the shapes of the notes of the first slide.
        parts: the content of further parts of the first slide by their kind.
    """
    roots = {"chart": "c:chartSpace"}
    related = {f"r{kind}": (kind, f"../{kind}.xml") for kind in parts}
    if notes:
        related["rnotes"] = ("notesSlide", "../notes.xml")
    numbers = range(1, len(slides) + 1)
    ids = "".join(f'<p:sldId r:id="s{number}"/>' for number in numbers)
    return zip_of(
        {
            "[Content_Types].xml": content_types("ppt/presentation.xml", "presentationml.presentation"),
            "_rels/.rels": relationships(r1=("officeDocument", "ppt/presentation.xml")),
            "ppt/presentation.xml": xml("p:presentation", f"<p:sldIdLst>{ids}</p:sldIdLst>"),
            "ppt/_rels/presentation.xml.rels": relationships(
                **{f"s{number}": ("slide", f"slides/s{number}.xml") for number in numbers}
            ),
            **{
                f"ppt/slides/s{number}.xml": xml(
                    "p:sld",
                    f"<p:cSld><p:spTree>{shapes}</p:spTree></p:cSld>",
                    'show="0"' if number == hidden else "",
                )
                for number, shapes in zip(numbers, slides, strict=True)
            },
            "ppt/slides/_rels/s1.xml.rels": relationships(**related),
            "ppt/notes.xml": xml("p:notes", f"<p:cSld><p:spTree>{notes}</p:spTree></p:cSld>"),
            **{f"ppt/{kind}.xml": xml(roots[kind], content) for kind, content in parts.items()},
        }
    )


def xlsx_of(*sheets: str, states: Mapping[int, str] = MappingProxyType({}), **parts: str) -> bytes:
    """A workbook.

    Args:
        sheets: XML of the rows of each sheet, and of what follows the rows.
        states: the state of sheets that are not visible, by their number.
        parts: the content of the parts ``strings`` and ``styles``.
    """
    numbers = range(1, len(sheets) + 1)
    listed = "".join(
        f'<x:sheet name="Sheet {number}" r:id="s{number}" state="{states.get(number, "visible")}"/>'
        for number in numbers
    )
    kinds = {"strings": ("sharedStrings", "x:sst"), "styles": ("styles", "x:styleSheet")}
    return zip_of(
        {
            "[Content_Types].xml": content_types("xl/workbook.xml", "spreadsheetml.sheet"),
            "_rels/.rels": relationships(r1=("officeDocument", "xl/workbook.xml")),
            "xl/workbook.xml": xml("x:workbook", f"<x:sheets>{listed}</x:sheets>"),
            "xl/_rels/workbook.xml.rels": relationships(
                **{f"s{number}": ("worksheet", f"sheet{number}.xml") for number in numbers},
                **{kind: (kinds[kind][0], f"{kind}.xml") for kind in parts},
            ),
            **{f"xl/sheet{number}.xml": xml("x:worksheet", rows) for number, rows in enumerate(sheets, 1)},
            **{f"xl/{kind}.xml": xml(kinds[kind][1], content) for kind, content in parts.items()},
        }
    )


def content_types(main: str, kind: str) -> str:
    """The part that names the media types of parts."""
    return (
        f'<Types xmlns="{OFFICE}/package/2006/content-types">'
        '<Default Extension="xml" ContentType="application/xml"/>'
        f'<Override PartName="/{main}" ContentType="application/vnd.openxmlformats-officedocument.'
        f'{kind}.main+xml"/></Types>'
    )


def odf_of(kind: str, body: str, *, automatic: str = "", master: str = "", **parts: str) -> bytes:
    """An OpenDocument file.

    Args:
        kind: "text", "presentation" or "spreadsheet".
        body: XML of the content.
        automatic: XML of its automatic styles.
        master: XML of its master pages.
        parts: further parts, such as ``manifest``.
    """
    names = "office text table draw presentation style svg number".split()
    uris = {"draw": "drawing", "number": "datastyle", "svg": "svg-compatible"}
    declared = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{uris.get(name, name)}:1.0"' for name in names
    )
    declared += ' xmlns:xlink="http://www.w3.org/1999/xlink"'
    return zip_of(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": f"<office:document-content {declared}><office:automatic-styles>{automatic}"
            f"</office:automatic-styles><office:body><office:{kind}>{body}</office:{kind}></office:body>"
            "</office:document-content>",
            "styles.xml": f"<office:document-styles {declared}>{master}</office:document-styles>",
            **{name.replace("__", "/") + ".xml": content for name, content in parts.items()},
        }
    )


def epub_of(chapters: Mapping[str, str], *, toc: str = "", nav: str = "", **parts: str) -> bytes:
    """An e-book.

    Args:
        chapters: the XHTML of each chapter by its file name.
        toc: XML of the entries of a table of contents of EPUB 2.
        nav: XHTML of a table of contents of EPUB 3.
        parts: further parts; "__" in a name stands for "/".
    """
    items = "".join(
        f'<item id="c{at}" href="{name}" media-type="application/xhtml+xml"/>'
        for at, name in enumerate(chapters)
    )
    order = "".join(f'<itemref idref="c{at}"/>' for at in range(len(chapters)))
    return zip_of(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container">'
            '<rootfiles><rootfile full-path="OEBPS/book.opf"/></rootfiles></container>',
            "OEBPS/book.opf": '<package xmlns="http://www.idpf.org/2007/opf"><manifest>'
            f'<item id="ncx" href="toc.ncx"/>'
            f'<item id="nav" href="nav.xhtml" properties="{"nav" if nav else ""}"/>'
            f'{items}</manifest><spine toc="ncx">{order}</spine></package>',
            "OEBPS/toc.ncx": '<!DOCTYPE ncx PUBLIC "-//NISO//DTD ncx 2005-1//EN" "http://x/ncx.dtd">'
            f'<ncx xmlns="http://www.daisy.org/z3986/2005/ncx/"><navMap>{toc}</navMap></ncx>',
            "OEBPS/nav.xhtml": nav,
            **{f"OEBPS/{name}": content for name, content in chapters.items()},
            **{name.replace("__", "/") + ".xml": content for name, content in parts.items()},
        }
    )
