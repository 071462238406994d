"""Show a number as the number format of its cell shows it (ECMA-376 part 1, section 18.8.31).

    show_number(45292.5, "dd.mm.yyyy hh:mm")      # "01.01.2024 12:00"
    show_number(-1234.5, "#,##0.00 [$€-407]")     # "-1,234.50 €"

Names of months and days are English.
"""

import re
from collections.abc import Callable, Mapping
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from fractions import Fraction
from functools import lru_cache
from math import isfinite

from data_jobs.stages.formats.office.sheets.date_format import has_date, show_date

GENERAL = "General"
#: One piece of a format: a quoted text, an escaped character, a space as wide as a character, a fill
#: character, a bracket, an exponent, placeholders of digits, any other character.
PIECE = re.compile(r'"([^"]*)"?|\\(.)|(_.)|(\*.)|\[([^\]]*)\]|([Ee][+-]0+)|([0#?]+|[.,%/@])|(.)', re.DOTALL)
SECTION = re.compile(r'((?:"[^"]*"?|\\.|\[[^\]]*\]|[^;])*)(?:;|$)', re.DOTALL)
CURRENCY = re.compile(r"\$([^-\]]*)")
CONDITION = re.compile(r"(<=|>=|<>|<|>|=)\s*(-?\d+(?:\.\d+)?)")
CHECKS: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, limit: value < limit,
    ">": lambda value, limit: value > limit,
    "<=": lambda value, limit: value <= limit,
    ">=": lambda value, limit: value >= limit,
    "=": lambda value, limit: value == limit,
    "<>": lambda value, limit: value != limit,
}
#: Maximum length of a format, maximum number of decimals, and significant digits of a number in ``GENERAL``.
MAX_FORMAT, MAX_DECIMALS, GENERAL_DIGITS = 255, 30, 11
#: Largest denominators of a fraction if the format has one place for the denominator, or more places.
ONE_PLACE, TWO_PLACES = 9, 99


def show_number(value: float, code: str, *, from_1904: bool = False) -> str:
    """Return the number as people see it.

    Args:
        value: the value of the cell.
        code: the number format.
        from_1904: True if the dates of the workbook count from 1904.
    """
    code = code[:MAX_FORMAT]
    section, is_signed = _section(code, value)
    if not section or section.strip().lower() == GENERAL.lower() or "@" in section:
        return show_general(value)
    if has_date(section):
        return show_date(value, section, from_1904=from_1904) or show_general(value)
    try:
        text = _show_digits(abs(value) if is_signed else value, section)
    except (InvalidOperation, OverflowError, ValueError):
        return show_general(value)
    return text or show_general(value)


def show_general(value: float) -> str:
    """Return the number without a format."""
    if not isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.{GENERAL_DIGITS}g}"


def _section(code: str, value: float) -> tuple[str, bool]:
    """Return the section of the format for this value, and True if the section writes the sign itself."""
    sections = _sections(code)
    for section in sections[:2]:
        if found := CONDITION.search("".join(re.findall(r"\[([^\]]*)\]", section))):
            if CHECKS[found[1]](value, float(found[2])):
                return section, False
            continue
    if len(sections) >= 3 and value == 0:
        return sections[2], False
    if len(sections) >= 2 and value < 0:
        return sections[1], True
    return (sections[0] if sections else ""), False


@lru_cache(maxsize=1000)
def _sections(code: str) -> list[str]:
    sections = [found[1] for found in SECTION.finditer(code)]
    return sections[:-1] if len(sections) > 1 and not sections[-1] else sections


def _show_digits(value: float, section: str) -> str:
    """Return the number as a section without dates shows it."""
    pieces = _pieces(section)
    kinds = [kind for kind, _ in pieces]
    if "exponent" in kinds:
        return _show_exponent(value, pieces)
    if "/" in [text for kind, text in pieces if kind == "mark"]:
        return _show_fraction(value, section)
    percents = sum(piece == ("mark", "%") for piece in pieces)
    places = [index for index, kind in enumerate(kinds) if kind == "digits"]
    if not places:
        return "".join(text for kind, text in pieces if kind == "text" or text == "%").strip()
    point = next((index for index, piece in enumerate(pieces) if piece == ("mark", ".")), len(pieces))
    whole_places = [index for index in places if index < point]
    commas = [index for index, piece in enumerate(pieces) if piece == ("mark", ",")]
    # Commas between places group digits by thousands. Each comma after the last place divides by 1,000.
    ends = (point if whole_places else 0, len(pieces))
    starts = (whole_places[-1] if whole_places else 0, places[-1])
    scale = sum(any(start < index < end for start, end in zip(starts, ends, strict=True)) for index in commas)
    is_grouped = any(whole_places[0] < index < whole_places[-1] for index in commas if whole_places)
    decimals = sum(len(pieces[index][1]) for index in places if index > point)
    needed = sum(pieces[index][1].count("0") for index in places if index > point)
    exact = Decimal(repr(value)) * 100**percents / 1000**scale
    rounded = exact.quantize(Decimal(1).scaleb(-min(decimals, MAX_DECIMALS)), rounding=ROUND_HALF_UP)
    whole, _, fraction = f"{abs(rounded):f}".partition(".")
    fraction = fraction[:needed] + fraction[needed:].rstrip("0")
    written = _fill(pieces, point, whole, fraction, grouped=is_grouped)
    sign = "-" if rounded < 0 else ""
    return f"{sign}{written}".strip()


def _fill(pieces: list[tuple[str, str]], point: int, whole: str, fraction: str, *, grouped: bool) -> str:
    """Write the digits into the places of a format. The first place takes the digits that are left."""
    places = [index for index, (kind, _) in enumerate(pieces) if kind == "digits" and index < point]
    wanted = sum(pieces[index][1].count("0") for index in places)
    whole = whole.lstrip("0").rjust(wanted, "0")
    filled: dict[int, str] = {}
    for index in reversed(places[1:]):
        if grouped:  # the pieces between commas are one number
            filled[index] = ""
            continue
        size = len(pieces[index][1])
        filled[index], whole = whole[-size:], whole[:-size]
    if places:
        filled[places[0]] = _group(whole) if grouped else whole
    written = []
    for index, (kind, text) in enumerate(pieces):
        if kind == "digits" and index < point:
            written.append(filled[index])
        elif kind == "text" or text == "%":
            written.append(text)
        elif index == point and (fraction or places):
            written.append(f"{'' if places else whole}.{fraction}" if fraction else "")
    return "".join(written)


def _group(whole: str) -> str:
    return re.sub(r"(?<=\d)(?=(?:\d{3})+$)", ",", whole)


def _show_exponent(value: float, pieces: list[tuple[str, str]]) -> str:
    point = next((index for index, piece in enumerate(pieces) if piece == ("mark", ".")), len(pieces))
    decimals = sum(
        len(text) for index, (kind, text) in enumerate(pieces) if kind == "digits" and index > point
    )
    return f"{value:.{min(decimals, MAX_DECIMALS)}E}"


def _show_fraction(value: float, section: str) -> str:
    if not abs(value) < 1e9:
        return show_general(value)
    places = len(re.search(r"/\s*([?#0]*)", section)[1])  # type: ignore[index]  # the caller found a slash
    found = Fraction(value).limit_denominator(ONE_PLACE if places <= 1 else TWO_PLACES)
    sign, whole = "-" if found < 0 else "", abs(found)
    number, rest = divmod(whole, 1)
    if not rest:
        return f"{sign}{number}"
    return f"{sign}{number} {rest}" if number else f"{sign}{rest}"


@lru_cache(maxsize=1000)
def _pieces(section: str) -> list[tuple[str, str]]:
    """Divide a section into texts, marks, places of digits and exponents."""
    pieces = []
    for quoted, escaped, space, fill, bracket, exponent, digits, other in PIECE.findall(section):
        if exponent:
            pieces.append(("exponent", exponent))
        elif digits:
            pieces.append(("digits" if digits[0] in "0#?" else "mark", digits))
        elif bracket:
            currency = CURRENCY.match(bracket)
            pieces.append(("text", currency[1] if currency else ""))
        elif not fill:
            pieces.append(("text", " " if space else quoted or escaped or other))
    return pieces
