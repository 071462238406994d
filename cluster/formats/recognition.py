"""Define the options of optical character recognition: which pages are recognised, and in which languages.

Ocr.of(Settings(ocr_languages="deu+eng")).languages    # ("deu", "eng")
"""

from dataclasses import dataclass
from typing import Literal, Self, get_args

from cluster.settings import Settings

#: ``auto`` recognises the pages without readable text, if Tesseract is installed. ``off`` recognises nothing.
#: ``force`` recognises all pages, also those with text.
OcrMode = Literal["auto", "off", "force"]
OCR_MODES: tuple[OcrMode, ...] = get_args(OcrMode)


@dataclass(frozen=True, kw_only=True, slots=True)
class Ocr:
    """The options of optical character recognition for one document."""

    mode: OcrMode
    #: The languages of the text, as Tesseract names them. The most frequent language comes first.
    languages: tuple[str, ...]

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the options that the settings choose."""
        return cls(mode=settings.ocr, languages=tuple(settings.ocr_languages.split("+")))

    @property
    def tesseract_languages(self) -> str:
        """The languages as the value of Tesseract's option ``-l``, such as ``deu+eng``."""
        return "+".join(self.languages)
