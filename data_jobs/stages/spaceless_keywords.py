"""Extract keywords from Chinese and Japanese texts, which have no spaces between words.

The stage ``keywords`` calls this module, because YAKE would take a whole clause for one word.

    text = "水泵的阀门。打开阀门,再启动水泵。"
    spaceless_keywords(text, "zh", stop_words={"的", "再"}, most=2)     # ["水泵", "阀门"]

A keyword is a sequence of letters that the text repeats. Chinese texts are divided at stop words. Japanese
texts are divided at hiragana, because grammatical words and endings are written in hiragana.
"""

import math
import re
from collections import Counter
from collections.abc import Collection

#: Languages whose keywords this module extracts.
LANGUAGES = frozenset({"zh", "ja"})
HAN = "\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
KATAKANA = "\u30a1-\u30fa\u30fc-\u30fe"
RUN = {"zh": re.compile(f"[{HAN}]+"), "ja": re.compile(f"[{HAN}]+|[{KATAKANA}]+")}
#: Least and greatest length of a keyword in letters. A Japanese keyword is a whole run of letters, so it may
#: be longer.
SHORTEST, LONGEST = 2, 4
#: A sequence that occurs nearly always inside one longer sequence is only a part of this longer sequence.
PART_SHARE = 0.75


def spaceless_keywords(text: str, language: str, *, stop_words: Collection[str], most: int) -> list[str]:
    """Return at most ``most`` sequences that occur at least twice, the most important first.

    Args:
        text: the text.
        language: a member of ``LANGUAGES``.
        stop_words: words that are not part of a keyword.
        most: maximum number of keywords.
    """
    stops = sorted((word for word in stop_words if RUN["zh"].fullmatch(word)), key=len, reverse=True)
    if stops:
        text = re.sub("|".join(map(re.escape, stops)), " ", text)
    counts = Counter(
        sequence for run in RUN[language].findall(text) for sequence in _sequences(run, language)
    )
    repeated = {sequence: count for sequence, count in counts.items() if count > 1}
    for sequence in sorted(repeated, key=len, reverse=True):
        for part in _parts(sequence):
            if part in repeated and counts[sequence] >= PART_SHARE * counts[part]:
                del repeated[part]
    score = {sequence: count * math.log(len(sequence)) for sequence, count in repeated.items()}
    return sorted(score, key=lambda sequence: (-score[sequence], sequence))[:most]


def _sequences(run: str, language: str) -> list[str]:
    if language == "ja":
        return [run] if len(run) >= SHORTEST else []
    return [
        run[start : start + length]
        for length in range(SHORTEST, LONGEST + 1)
        for start in range(len(run) - length + 1)
    ]


def _parts(sequence: str) -> set[str]:
    """Return the shorter sequences in a sequence."""
    return {
        sequence[start : start + length]
        for length in range(SHORTEST, len(sequence))
        for start in range(len(sequence) - length + 1)
    }
