"""Put columns that a PDF draws row by row (left line, right line, next left line) into reading order."""

#: Minimum number of lines of a column, and minimum number of characters of the average line of a column. A
#: shorter column counts as part of a table, which is read row by row.
MIN_LINES, MIN_CHARACTERS = 5, 20
#: Two lines are beside each other if their vertical distance is at most this share of the letter height.
MAX_DISTANCE = 0.4
#: In a column, three of four lines have at least this share of the length of the longest line. Otherwise the
#: block is a table or program code.
MIN_LENGTH_SHARE = 0.5
#: A line that covers at least this share of the block's width is a heading above the columns.
SPANNING_SHARE = 0.6

#: A text block of PyMuPDF: left, top, right, bottom, text, number, type.
Block = tuple[float, float, float, float, str, int, int]
Blocks = list[Block]
#: A line: left, right, text.
DrawnLine = tuple[float, float, str]


def is_interleaved(block: Block) -> bool:
    """Return True if the block has columns that are drawn row by row. The lines of such a block have similar
    lengths, and are too close to each other to be below each other.
    """
    x0, y0, x1, y1, text, *_ = block
    if len(text) < 2 * MIN_LINES * MIN_CHARACTERS:
        return False
    lines = text.count("\n")
    if lines < 2 * MIN_LINES or len(text) < lines * MIN_CHARACTERS:
        return False
    letter_height = 2 * (x1 - x0) * lines / len(text)  # assume that letters are half as wide as high
    if (y1 - y0) / lines > MAX_DISTANCE * letter_height:
        return False
    lengths = sorted(map(len, text.splitlines()))
    return bool(lengths[lines // 4] >= max(MIN_CHARACTERS, MIN_LENGTH_SHARE * lengths[-1]))


def in_reading_order(lines: list[DrawnLine], block: Block) -> str:
    """Return the text of a block column by column, between headings. If a column is not prose, return the
    text unchanged.
    """
    widest = SPANNING_SHARE * (block[2] - block[0])
    ordered: list[str] = []
    rows: list[DrawnLine] = []
    for line in [*lines, (block[0], block[2], "")]:
        if line[1] - line[0] < widest:
            rows.append(line)
            continue
        columns = _columns(rows)
        if any(
            len(column) < MIN_LINES or sum(map(len, column)) < MIN_CHARACTERS * len(column)
            for column in columns
        ):
            return block[4]
        ordered += [text for column in columns for text in column] + [line[2]]
        rows = []
    return "".join(f"{text}\n" for text in ordered)


def _columns(lines: list[DrawnLine]) -> list[list[str]]:
    """Group the texts of the lines into columns of overlapping horizontal positions, from left to right."""
    columns: list[list[int]] = []
    edge = float("-inf")
    for index in sorted(range(len(lines)), key=lambda index: lines[index][0]):
        left, right, _ = lines[index]
        if left > edge:
            columns.append([])
        columns[-1].append(index)
        edge = max(edge, right)
    return [[lines[index][2] for index in sorted(column)] for column in columns]
