"""Define the rows of the table of formats for texts that contain records or data."""

from cluster.file_beginning import FileBeginning
from cluster.formats.format import DOCUMENT_PURPOSES, JSON_LINES_PURPOSES, Format, named

#: The bytes of white space and of a byte order mark, which may precede the first line of JSON.
BEFORE_JSON = b"\xef\xbb\xbf \t\r\n"

CSV_SUFFIXES = frozenset({"csv"})
TSV_SUFFIXES = frozenset({"tsv", "tab"})
JSON_SUFFIXES = frozenset({"json", "geojson", "jsonld", "webmanifest", "har"})
JSON_LINES_SUFFIXES = frozenset({"jsonl", "ndjson"})
JSON_LINES = "application/jsonl"
#: Suffixes of XML files that contain a text or data. XHTML is not here, because it is read as HTML.
XML_SUFFIXES = frozenset(
    "xml xsd xsl xslt rss atom wsdl dbk docbook dita ditamap tei kml gpx svg opml xlf xliff resx xaml".split()
)


def _is_json(beginning: FileBeginning) -> bool:
    return beginning.start.lstrip(BEFORE_JSON).startswith((b"{", b"["))


RECORDS = (
    Format(
        name="CSV",
        media_type="text/csv",
        recognises=named(CSV_SUFFIXES),
        suffixes=CSV_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.delimited",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="JSON lines",
        media_type=JSON_LINES,
        recognises=lambda beginning: _is_json(beginning) and beginning.suffix in JSON_LINES_SUFFIXES,
        suffixes=JSON_LINES_SUFFIXES,
        purposes=(*DOCUMENT_PURPOSES, *JSON_LINES_PURPOSES),
        parser="data_jobs.stages.formats.records.json_lines",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="JSON lines of any name",
        media_type=JSON_LINES,
        recognises=_is_json,
        purposes=JSON_LINES_PURPOSES,
        only_for_its_purposes=True,
    ),
    Format(
        name="JSON",
        media_type="application/json",
        recognises=named(JSON_SUFFIXES),
        suffixes=JSON_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.json_text",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="XML",
        media_type="application/xml",
        recognises=lambda beginning: beginning.is_xml or beginning.suffix in XML_SUFFIXES,
        suffixes=XML_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.xml_text",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
    Format(
        name="TSV",
        media_type="text/tab-separated-values",
        recognises=named(TSV_SUFFIXES),
        suffixes=TSV_SUFFIXES,
        purposes=DOCUMENT_PURPOSES,
        parser="data_jobs.stages.formats.records.tab_separated",
        libraries=("chardet",),
        licence="0BSD",
        page="the whole document",
    ),
)
