"""Write the numbers of list items in Roman numerals and in letters.

in_roman(14), in_letters(28)    # "XIV", "BB"
"""

#: The mark of an item of a list without numbers, as in Markdown.
BULLET = "-"
ROMAN = tuple(
    zip(
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        "M CM D CD C XC L XL X IX V IV I".split(),
        strict=True,
    )
)
#: The largest numbers in Roman numerals and in letters. Larger numbers are written in digits.
LARGEST_ROMAN, LARGEST_IN_LETTERS = 3999, 26 * 10


def in_roman(count: int) -> str:
    """Return a number as upper-case Roman numerals."""
    if not 0 < count <= LARGEST_ROMAN:
        return str(count)
    written = ""
    for value, numeral in ROMAN:
        written += numeral * (count // value)
        count %= value
    return written


def in_letters(count: int) -> str:
    """Return a number as upper-case letters, as Word does: A to Z, AA, BB, and so on."""
    if not 0 < count <= LARGEST_IN_LETTERS:
        return str(count)
    repeated, letter = divmod(count - 1, 26)
    return chr(ord("A") + letter) * (repeated + 1)
