"""Choose the text search configuration of Postgres for a chunk by the chunk's language.

A configuration has the stop words and the stemmer of one language. The words of a chunk are made with the
configuration of the chunk's language, and a search makes the words of its question with every configuration
that the store has.

    text_configuration("Die Häuser am Fluss ...", {"language": "de", "ordinal": 0})       # "german"
"""

import re
from collections.abc import Mapping
from typing import Any

from cluster.languages.document_language import text_language
from cluster.vector_index.attributes import HIDDEN

#: Configuration of chunks whose language is not known.
DEFAULT = "english"
#: Configuration that has no stop words and no stemmer.
SIMPLE = "simple"
#: Name of the attribute with the ISO 639 code of a chunk's language.
LANGUAGE = "language"
#: Configurations by ISO 639 code. Every release of Postgres that is supported has these configurations. A
#: language that is not here has the configuration ``simple``.
CONFIGURATIONS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "eng": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
    # These languages are written without spaces, so a word is a pair of letters, which no stemmer changes.
    # The configuration of English is used, because texts in these languages often contain English terms.
    **dict.fromkeys(["ja", "km", "lo", "my", "th", "zh"], DEFAULT),
    # The language is not known, the text has several languages, or the text is in no language, such as a
    # program.
    **dict.fromkeys(["", "mul", "und", "zxx"], DEFAULT),
}
#: Names of configurations. The attribute ``language`` of a given vector can have such a name in place of a
#: code.
NAMES = frozenset(CONFIGURATIONS.values())
#: Maximum length of an ISO 639 code. A longer value of the attribute ``language`` is no code.
LONGEST_CODE = 3
#: Matches the character between a code and a region, as in ``de-AT`` and ``en_US``.
REGION = re.compile("[-_]")


def text_configuration(text: str, attributes: Mapping[str, Any]) -> str:
    """Return the configuration with which the words of a chunk are made.

    The language is the chunk's attribute ``language``. If a chunk of a document has no such attribute,
    because an older release wrote the chunk, its language is detected. Other chunks without this attribute
    have the default configuration.

    Args:
        text: the text of the chunk.
        attributes: all attributes of the chunk (``attributes.merged_attributes``).
    """
    language = attributes.get(HIDDEN, attributes).get(LANGUAGE, attributes.get(LANGUAGE))
    if language is None and "ordinal" in attributes:
        language = text_language(text)
    if not isinstance(language, str):
        return DEFAULT
    code = REGION.split(language.strip().lower())[0]
    if code in NAMES:
        return code
    return CONFIGURATIONS.get(code, SIMPLE if len(code) <= LONGEST_CODE else DEFAULT)
