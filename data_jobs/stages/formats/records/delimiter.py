"""Find the delimiter of a table of text.

    find_delimiter("a;b\n1,5;2\n", preferred=",")     # ";"

The standard library's ``csv.Sniffer`` is not used, because it takes letters for delimiters and reads quoted
fields by regular expressions that need minutes for some texts.
"""

import csv
import io
import re
from collections import Counter

#: Delimiters in the order of preference among equally good delimiters.
DELIMITERS = ",;\t|"
#: Maximum number of characters, and of records, that are examined.
EXAMINED_CHARACTERS, EXAMINED_RECORDS = 64 * 1024, 200
#: First line by which Excel finds the delimiter.
DECLARED = re.compile(r"sep=(.)\n", re.IGNORECASE)


def declared_delimiter(text: str) -> str | None:
    """Return the delimiter that the first line declares for Excel ("sep=;"); None without such a line."""
    found = DECLARED.match(text)
    return found[1] if found and found[1] not in '"\r' else None


def find_delimiter(text: str, *, preferred: str) -> str:
    """Return the delimiter with which most records have the same number of fields.

    Args:
        text: the table.
        preferred: the delimiter of the file's type, which is the result for a table of one column. A tab wins
            over equally good delimiters. A comma does not, because it may also be in each decimal number.
    """
    sample = text[:EXAMINED_CHARACTERS]
    if len(text) > EXAMINED_CHARACTERS:
        sample = sample[: sample.rfind("\n") + 1] or sample
    order = preferred + DELIMITERS.replace(preferred, "")
    scores = {
        delimiter: _score(sample, delimiter, wins=delimiter == preferred == "\t") for delimiter in order
    }
    return max(order, key=lambda delimiter: scores[delimiter])  # the first of equal delimiters


def _score(sample: str, delimiter: str, *, wins: bool) -> tuple[float, bool, int]:
    """Return the share of the records that have the most common number of fields, ``wins``, and that number.
    A number of 1 gives the lowest score, because the delimiter divides nothing. A record whose quotation
    marks are wrong has no number.
    """
    reader = csv.reader(io.StringIO(sample), delimiter=delimiter, strict=True)
    counts, malformed = Counter[int](), 0
    for _ in range(EXAMINED_RECORDS):
        try:
            record = next(reader)
        except StopIteration:
            break
        except csv.Error:  # with this delimiter, text follows the end of a quoted field
            malformed += 1
            continue
        if any(record):
            counts[len(record)] += 1
    if not counts:
        return 0.0, wins, 1
    fields, count = counts.most_common(1)[0]
    return (count / (counts.total() + malformed) if fields > 1 else 0.0), wins, fields
