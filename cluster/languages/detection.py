"""Detects the language of a text with py3langid.

The analysis of messages calls ``detect``, and ``document_language`` calls ``classify``. Sentiment is computed
for English only, so a message in another language must not be taken for English. The language of a very short
text is often uncertain, so the caller gives other messages of the conversation as context.

    detect("Where is my parcel?")                            # "en"
    detect("refund", context="I want my money back")         # "en"
"""

from functools import cache
from typing import Any

ENGLISH = "en"
#: ISO 639 code of a text whose language is unknown.
UNDETERMINED = "und"
#: Minimum confidence of py3langid for the text alone. On four public sets of English sentences, 0.2% were
#: taken for another language with at least this confidence; without a minimum, 6% of the tweets were
#: taken for another language.
MIN_CONFIDENCE = 0.5
#: Maximum number of characters that are read of the text, and of the context. More characters rarely change
#: the result.
MAX_CHARACTERS = 500
#: The code that ``classify`` returns for a variety: Cantonese and Wu are Chinese, Nynorsk and Bokmål are
#: Norwegian, Egyptian and Moroccan Arabic are Arabic, and Biblical Hebrew is Hebrew.
SAME = {
    "yue": "zh",
    "wuu": "zh",
    "nn": "no",
    "nb": "no",
    "arz": "ar",
    "ary": "ar",
    "hbo": "he",
}


def detect(text: str, *, context: str = "") -> str:
    """Return the ISO 639 code of the text's language, such as ``en``.

    Args:
        text: the text. If neither the text nor the context has letters, the language is ``und``.
        context: other texts by the same person, which are used if the text alone is not clear enough.
    """
    text = text[:MAX_CHARACTERS]
    if any(map(str.isalpha, text)):
        language, confidence = _identifier().classify(text)
        if confidence >= MIN_CONFIDENCE or not context:
            return str(language)
    elif not any(map(str.isalpha, context)):
        return UNDETERMINED
    language, _ = _identifier().classify(f"{text} {context[:MAX_CHARACTERS]}")
    return str(language)


def classify(text: str) -> tuple[str, float]:
    """Return the ISO 639 code of the text's language, and the confidence from 0 to 1.

    Varieties that are written nearly alike have one code, see ``SAME``. The time grows with the text: 0.1 ms
    for 300 characters, 1 ms for 2,000.
    """
    if not any(map(str.isalpha, text)):
        return UNDETERMINED, 0.0
    language, confidence = _identifier().classify(text)
    return SAME.get(str(language), str(language)), float(confidence)


@cache
def _identifier() -> Any:
    # Loading the model takes 0.5 s, so the model is loaded at the first use.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
