"""Define the options of optical character recognition: which pages are recognised, and in which languages.

Ocr.of(Settings(ocr_languages="deu+eng")).languages    # ("deu", "eng")

A vector store and an attached file can choose other options than the settings of the node.

settings = with_ocr_of(settings, store, attached)
"""

from dataclasses import dataclass
from typing import Literal, Protocol, Self, get_args

from cluster.settings import Settings

#: ``auto`` recognises the pages without readable text, if Tesseract is installed. ``off`` recognises nothing.
#: ``force`` recognises all pages, also those with text.
OcrMode = Literal["auto", "off", "force"]
OCR_MODES: tuple[OcrMode, ...] = get_args(OcrMode)


class OcrChoice(Protocol):
    """The options that a vector store, an attached file or a command chooses."""

    @property
    def ocr(self) -> OcrMode | None:
        """The mode; None if nothing is chosen."""

    @property
    def ocr_languages(self) -> str | None:
        """The languages, such as ``deu+eng``; None if nothing is chosen."""


def with_ocr_of(settings: Settings, *choices: OcrChoice) -> Settings:
    """Return the settings with the chosen options. Of two choices of one option, the later choice counts."""
    chosen: dict[str, str] = {}
    for choice in choices:
        if choice.ocr is not None:
            chosen["ocr"] = choice.ocr
        if choice.ocr_languages is not None:
            chosen["ocr_languages"] = choice.ocr_languages
    return settings.model_copy(update=chosen) if chosen else settings


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
