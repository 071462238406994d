"""Add and print decimal numbers without rounding, because bills and their sums must agree to the last digit.

exact_sum([Decimal("0.1"), Decimal("0.20")])          # Decimal("0.30")
plain(Decimal("1234.500"))                            # "1234.5"
"""

from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, Rounded

#: Maximum number of digits of an exact sum. A value of a column ``numeric(20, 12)`` has at most 20 digits.
DIGITS = 1_000


def exact_sum(numbers: Iterable[Decimal | int | None]) -> Decimal:
    """Return the sum of the numbers. None counts as 0.

    Raises:
        decimal.Inexact: the sum has more than ``DIGITS`` digits.
    """
    # Python's default context would round to 28 digits without an error.
    context = Context(prec=DIGITS, traps=[Inexact, Rounded])
    total = Decimal(0)
    for number in numbers:
        if number is not None:
            total = context.add(total, Decimal(number))
    return total


def plain(number: Decimal | int) -> str:
    """Return the number in decimal notation: no exponent, and no zeros after the last digit of a fraction."""
    text = format(Decimal(number), "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def grouped(number: Decimal | int) -> str:
    """Return the number as ``plain`` does, with a comma between thousands."""
    text = plain(number)
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, fraction = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{fraction}"
