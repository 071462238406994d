"""Write a report as CSV (RFC 4180): one row for each line, in UTF-8, after a row with the names of the
columns.

csv_of(content)         # b"line,day,agent,agent_name,model,kind,unit,quantity,events,cost_usd\r\n..."
"""

import csv
import io

from cluster.usage_reports.content import ReportContent, ReportLine
from cluster.usage_reports.exact import plain

COLUMNS = (
    "line",
    "day",
    "agent",
    "agent_name",
    "model",
    "kind",
    "unit",
    "quantity",
    "events",
    "cost_usd",
)
USAGE, ADJUSTMENT = "usage", "adjustment"
#: A spreadsheet can read a text that begins with one of these characters as a formula. The apostrophe is in
#: the list, so the first apostrophe of a text is always an added one, which a reader can remove.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def csv_of(content: ReportContent) -> bytes:
    """Return the report as CSV."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(_row, content.lines))
    return text.getvalue().encode()


def safe_text(text: str) -> str:
    """Return the text with an apostrophe in front if a spreadsheet could read it as a formula."""
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def _row(line: ReportLine) -> list[str]:
    texts = (line.agent, line.agent_name, line.model, line.kind, line.unit)
    return [
        ADJUSTMENT if line.adjustment else USAGE,
        line.day.isoformat(),
        *map(safe_text, texts),
        plain(line.quantity),
        plain(line.events),
        "" if line.cost is None else plain(line.cost),
    ]
