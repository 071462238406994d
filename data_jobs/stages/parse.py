"""Parse a document's bytes into pages. This is the second stage of ingest."""

from functools import cache

from cluster.formats.recognition import Ocr
from cluster.records import ParsedDocument
from cluster.settings import Settings
from data_jobs.sources import file_name
from data_jobs.stages.document_row import DocumentRow, page_columns, with_facts
from data_jobs.stages.map_rows import failed
from data_jobs.stages.parsing.parser import Parser
from data_jobs.stages.parsing.recognition import Recognition, may_be_recognised


@cache
def parser_of_process(settings: Settings) -> Parser:
    """Return the parser that all rows of this process share. The parser parses one document at a time."""
    return Parser(settings)


class Parse:
    """Parses ``content``, and removes ``content`` from the row; needs ``source`` for the file name. Adds the
    facts that the parser finds to ``facts``.

    Fills ``page_texts``, ``structures``, ``pages``, ``pages_with_text``, ``media_type``, ``facts``,
    ``outcome`` and ``detail``.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def _recognised(self, data: bytes, name: str) -> ParsedDocument:
        """Parse the document, and recognise the text of the pages that need recognition."""
        parser, ocr = parser_of_process(self.settings), Ocr.of(self.settings)
        parsed = whole = parser.parse(data, name=name)
        if not may_be_recognised(whole, ocr):
            return whole
        if not parsed.outcome.searchable:  # ask for the pages, because the result without text has none
            parsed = parser.parse(data, name=name, part=(0, self.settings.max_document_pages))
            if not parsed.outcome.searchable:
                return whole
        work = Recognition(
            ocr, parsed.pages, parsed.unread, media_type=parsed.media_type, settings=self.settings
        )
        for number in work.waiting:
            work.take(number, parser.parse(data, name=name, **work.call(number)))
        recognised = work.result(parsed)
        return recognised if any(page.text for page in work.pages) or work.why_no_text() else whole

    def __call__(self, row: DocumentRow) -> DocumentRow:
        parsed = self._recognised(row["content"], file_name(row["source"]))
        row = {**row, "content": b"", "media_type": parsed.media_type, "pages": len(parsed.pages)}
        if not parsed.outcome.searchable:
            return failed(row, parsed.outcome, parsed.detail)
        row = with_facts({**row, "outcome": parsed.outcome, "detail": parsed.detail}, parsed.facts)
        with_text = sum(bool(page.text.strip()) for page in parsed.pages)
        return {**row, **page_columns(parsed.pages), "pages_with_text": with_text}
