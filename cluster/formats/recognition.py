"""Define the options of optical character recognition: when pages are recognised, and in which languages.

chosen = Ocr.chosen(settings, {"mode": "force", "languages": ["deu", "eng"]})
chosen.tesseract_languages    # "deu+eng"
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

from cluster.settings import Settings

#: ``auto`` recognises the pages without readable text, if Tesseract is installed. ``off`` recognises nothing.
#: ``force`` recognises all pages, also those with text.
OcrMode = Literal["auto", "off", "force"]
OCR_MODES: tuple[OcrMode, ...] = get_args(OcrMode)
#: A language as Tesseract names it, such as ``deu`` or ``chi_sim``.
LANGUAGE = re.compile(r"[A-Za-z]{3}(?:_[A-Za-z]{2,12}){0,2}")
#: Maximum number of languages of one document. Each language takes time and memory.
MAX_LANGUAGES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Ocr:
    """The options of optical character recognition for one document."""

    mode: OcrMode
    #: The languages of the text, the most frequent one first.
    languages: tuple[str, ...]

    @classmethod
    def chosen(cls, settings: Settings, *asked: Mapping[str, Any] | None) -> Self:
        """Return the options. Each value comes from the first of ``asked`` that has it, or from the settings.

        Args:
            settings: the settings of this node.
            asked: options with the keys ``mode`` and ``languages``, such as those of a file and of its store.
        """
        values: dict[str, Any] = {"mode": settings.ocr, "languages": settings.ocr_languages.split("+")}
        for options in reversed(asked):
            values.update({name: value for name, value in (options or {}).items() if value})
        return cls(mode=values["mode"], languages=tuple(values["languages"]))

    @property
    def tesseract_languages(self) -> str:
        """The languages in the form of Tesseract's option ``-l``."""
        return "+".join(self.languages)
