"""Parse a table whose fields are separated by tabs; ``delimited`` does the work."""

from data_jobs.stages.formats.contract import ParseOptions, ParserOutput
from data_jobs.stages.formats.records.delimited import table_page


def parse(data: bytes, _: ParseOptions) -> ParserOutput:
    """Parse a file of tab-separated values into one page. Other delimiters are found, too."""
    return table_page(data, preferred="\t")
