"""Put the Hebrew and Arabic text of a PDF into reading order.

MuPDF assumes that a PDF draws right-to-left text from left to right, and reverses the text. Some programs
draw the letters in reading order instead; the reversal then puts the last letter of each word first. Letters
that occur only at the end of a word show whether the letters are in reading order.
"""

import re
import unicodedata
from collections.abc import Sequence

#: The letters of Hebrew, Arabic and Syriac, and their presentation forms.
LETTER = "\u05d0-\u05ea\u0620-\u064a\u066e-\u06d3\u06fa-\u074f\u0750-\u077f\ufb1d-\ufdfb\ufe70-\ufefc"
FOUND = re.compile(f"[{LETTER}]")
MARKS = re.compile("[\u0591-\u05c7\u064b-\u065f\u0670]")
#: Forms of Arabic and Hebrew letters that exist in fonts only.
PRESENTATION_FORMS = re.compile("[\ufb1d-\ufb4f\ufb50-\ufdfb\ufe70-\ufefc]+")
#: Signs of text in the right order: final forms of Hebrew letters, and Arabic teh marbuta and alef maksura,
#: end a word; the article al- begins a word.
IN_ORDER = re.compile(f"(?<=[{LETTER}])[ךםןףץةى](?![{LETTER}])|(?<![{LETTER}])ال(?=[{LETTER}]{{2}})")
#: Signs of text in reversed order: the same letters begin a word, and the reversed article ends a word.
REVERSED = re.compile(f"(?<![{LETTER}])[ךםןףץةى](?=[{LETTER}])|(?<=[{LETTER}]{{2}})لا(?![{LETTER}])")
NEUTRAL = f"[^{LETTER}A-Za-z0-9\\n\u00c0-\u024f\u0370-\u052f]"
RUN = re.compile(
    f"(?:^{NEUTRAL}*)?[{LETTER}](?:{NEUTRAL}*[{LETTER}])*{NEUTRAL.replace('[^', '[^ ')}*", re.MULTILINE
)


def in_reading_order(paragraphs: Sequence[str]) -> list[str]:
    """Return the paragraphs of a page with the letters of each word in reading order."""
    letters = [PRESENTATION_FORMS.sub(_plain, paragraph) for paragraph in paragraphs]
    bare = MARKS.sub("", "\n".join(letters))
    if len(REVERSED.findall(bare)) <= 2 * len(IN_ORDER.findall(bare)):
        return letters
    return [RUN.sub(lambda run: run[0][::-1], paragraph) for paragraph in letters]


def _plain(forms: re.Match[str]) -> str:
    return unicodedata.normalize("NFKC", forms[0])
