"""A number is shown as its format shows it in Excel."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from data_jobs.stages.formats.office.sheets.number_format import show_number

#: A value, its format, and what Excel shows.
SHOWN = [
    (1234.5, "General", "1234.5"),
    (1 / 3, "General", "0.33333333333"),
    (1234.5, "#,##0.00", "1,234.50"),
    (1234567.891, "#,##0", "1,234,568"),
    (-1234.5, "#,##0.00 [$€-407]", "-1,234.50 €"),
    (-5, "0;(0)", "(5)"),
    (0, '0;-0;"none"', "none"),
    (0.5, "0%", "50%"),
    (0.12345, "0.0#%", "12.35%"),
    (1.5, "# ?/?", "1 1/2"),
    (1234567, "0.0,,", "1.2"),
    (1234567, '#,##0,"k"', "1,235k"),
    (12345, "0.00E+00", "1.23E+04"),
    (2.5, "0", "3"),
    (1.005, "0.00", "1.01"),
    (5, "000", "005"),
    (123456789, "000-00-0000", "123-45-6789"),
    (7, '"No. "0', "No. 7"),
    (7, "[Red]0.0", "7.0"),
    (120, '[>=100]"high";"low"', "high"),
    (46355, "yyyy-mm-dd", "2026-11-29"),
    (46355.75, "d mmmm yyyy, h:mm AM/PM", "29 November 2026, 6:00 PM"),
    (46355.0, "dddd", "Sunday"),
    (0.5, "hh:mm:ss", "12:00:00"),
    (1.5, "[h]:mm", "36:00"),
    (0.000011574074, "mm:ss.0", "00:01.0"),
    (46355.5, "m/d/yy h:mm", "11/29/26 12:00"),
    (1, "yyyy-mm-dd", "1900-01-01"),
    (61, "yyyy-mm-dd", "1900-03-01"),
    (-1, "yyyy-mm-dd", "-1"),
    (46355, "[$-409]d\\-mmm\\-yy;@", "29-Nov-26"),
]


@pytest.mark.parametrize(
    ("value", "code", "shown"), SHOWN, ids=[f"{value} {code}" for value, code, _ in SHOWN]
)
def test_a_number_is_shown_in_its_format(value: float, code: str, shown: str) -> None:
    assert show_number(value, code) == shown


def test_dates_may_count_from_1904() -> None:
    assert show_number(44893, "yyyy-mm-dd", from_1904=True) == "2026-11-29"


@given(some.floats(), some.text('yMmdhs0#?.,%/E+-[]"\\;_*@$ A:', max_size=20))
def test_no_format_makes_a_number_fail(value: float, code: str) -> None:
    assert isinstance(show_number(value, code), str)
