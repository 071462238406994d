"""Columns of a PDF that were drawn row by row: the left line, the right line, the next left line. Readers read column by column."""

import pymupdf

#: Lines of a column, at least, and characters of such a line: what is shorter is a table, which is read row by row.
LINES, CHARACTERS = 5, 20
#: Lines this close together, measured by the width of their letters, stand beside each other.
BESIDE = 0.4
#: Three lines of four have at least this share of the longest one's length, or they are a table or a program.
EVEN = 0.5
#: A line with a larger share of the block's width belongs to no column: a heading.
SPANNING = 0.6

#: Left, top, right and bottom, the lines, number, kind.
Block = tuple[float, float, float, float, str, int, int]
Blocks = list[Block]
#: Left, right, text.
Line = tuple[float, float, str]


def is_interleaved(block: Block) -> bool:
    """True where its lines are too close together for being below each other, and all about as long: columns drawn row by row."""
    x0, y0, x1, y1, text, *_ = block
    if len(text) < 2 * LINES * CHARACTERS:
        return False
    lines = text.count("\n")
    if lines < 2 * LINES or len(text) < lines * CHARACTERS:
        return False
    letter_height = 2 * (x1 - x0) * lines / len(text)  # letters are half as wide as they are high
    if (y1 - y0) / lines > BESIDE * letter_height:
        return False
    lengths = sorted(map(len, text.splitlines()))
    return bool(lengths[lines // 4] >= max(CHARACTERS, EVEN * lengths[-1]))


def by_columns(page: pymupdf.Page, flags: int, blocks: Blocks) -> Blocks:
    """The blocks of the page, with the lines of those column by column that have columns of prose."""
    drawn = [block["lines"] for block in page.get_text("dict", flags=flags)["blocks"] if block["type"] == 0]
    if len(drawn) != len(blocks):
        return blocks
    found = []
    for block, lines in zip(blocks, drawn, strict=True):
        text = block[4]
        if is_interleaved(block):
            text = _in_order(
                [
                    (line["bbox"][0], line["bbox"][2], "".join(span["text"] for span in line["spans"]))
                    for line in lines
                ],
                block,
            )
        found.append((*block[:4], text, *block[5:]))
    return found


def _in_order(lines: list[Line], block: Block) -> str:
    """Column by column, between lines that span all of them; as they are where a column is no prose."""
    widest = SPANNING * (block[2] - block[0])
    ordered: list[str] = []
    rows: list[Line] = []
    for line in [*lines, (block[0], block[2], "")]:
        if line[1] - line[0] < widest:
            rows.append(line)
            continue
        columns = _columns(rows)
        if any(len(column) < LINES or sum(map(len, column)) < CHARACTERS * len(column) for column in columns):
            return block[4]
        ordered += [text for column in columns for text in column] + [line[2]]
        rows = []
    return "".join(f"{text}\n" for text in ordered)


def _columns(lines: list[Line]) -> list[list[str]]:
    """Texts of the lines, those together whose places overlap; from left to right, the lines of each in their order."""
    columns: list[list[int]] = []
    edge = float("-inf")
    for place in sorted(range(len(lines)), key=lambda place: lines[place][0]):
        left, right, _ = lines[place]
        if left > edge:
            columns.append([])
        columns[-1].append(place)
        edge = max(edge, right)
    return [[lines[place][2] for place in sorted(column)] for column in columns]
