"""Computes the language and the sentiment of messages. The job that enriches profiles calls ``analyse``.

The default is the linear head for the vectors of the model (``linear_head``). If no head was trained for
these vectors, VADER scores the text alone. The settings can name a transformer instead. ``version`` names the
scorer that computed a score, and is stored with the score.

    model = open_sentiment_model(settings, fingerprint)
    model.analyse(["I love it!"], contexts=[""], vectors=vectors)   # [MessageTone(language="en", score=0.6)]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cluster.engines.contract import Fingerprint
from cluster.errors import Misconfigured
from cluster.languages.detection import ENGLISH, detect
from cluster.sentiment.lexicon import lexicon_features
from cluster.sentiment.linear_head import open_head
from cluster.settings import Settings

Floats = NDArray[np.float32]
#: Version of the rules in ``cluster.languages.detection`` and in ``lexicon``. Change this version together
#: with these rules, because the versions of all scores contain it.
RULES = "1"


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageTone:
    """The language and the sentiment of one text."""

    #: ISO 639 code of the language; ``und`` if it is unknown.
    language: str
    #: From -1, very negative, to 1, very positive; None unless the language is English.
    score: float | None


class SentimentScorer(Protocol):
    """Scores English texts."""

    @property
    def version(self) -> str:
        """Name and version of the scorer."""

    def score(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Return the sentiment of n texts: (n,) float32 in [-1, 1].

        Args:
            vectors: (n, dim) float32, the vectors of the texts.
        """


class SentimentModel:
    """Detects the language of each text, and scores the English texts.

    Args:
        scorer: scores English texts.
    """

    def __init__(self, scorer: SentimentScorer) -> None:
        self._scorer = scorer
        self.version = f"{scorer.version}/{RULES}"

    def analyse(self, texts: Sequence[str], *, contexts: Sequence[str], vectors: Floats) -> list[MessageTone]:
        """Return the language of each text, and the sentiment of the English texts.

        Args:
            contexts: for each text, other texts of the conversation by the same person, or an empty text.
            vectors: (n, dim) float32, the vectors of the texts.
        """
        languages = [detect(text, context=context) for text, context in zip(texts, contexts, strict=True)]
        english = [place for place, language in enumerate(languages) if language == ENGLISH]
        scores: list[float | None] = [None] * len(texts)
        if english:
            found = self._scorer.score([texts[place] for place in english], vectors[english])
            for place, score in zip(english, found, strict=True):
                scores[place] = float(score)
        return [MessageTone(language=one, score=score) for one, score in zip(languages, scores, strict=True)]


class LexiconScorer:
    """Scores texts with VADER alone."""

    version = "vader-3.3.2"

    def score(self, texts: Sequence[str], vectors: Floats) -> Floats:  # noqa: ARG002  the contract of ``SentimentScorer``
        """Return VADER's compound score of each text. The vectors are not used."""
        return lexicon_features(texts)[:, 0]


class HeadScorer:
    """Scores texts with the linear head for the vectors of a model.

    Args:
        fingerprint: fingerprint of the model.

    Raises:
        LookupError: no head was trained for the vectors of this model.
    """

    def __init__(self, fingerprint: Fingerprint) -> None:
        head = open_head(fingerprint)
        if head is None:
            raise LookupError(fingerprint.id)
        self._head = head
        self.version = head.version

    def score(self, texts: Sequence[str], vectors: Floats) -> Floats:
        """Return the sentiment of each text."""
        return self._head.score(vectors, lexicon_features(texts))


class TransformerScorer:
    """Scores texts with a transformer.

    Args:
        path: folder with the transformer.
        settings: decides the device.

    Raises:
        Misconfigured: the folder has no sentiment model, or the model cannot be loaded.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        # Importing sentence-transformers takes 6 s, so it is imported only if the settings name a folder.
        from cluster.engines.sentiment_classifier import SentimentClassifier  # noqa: PLC0415

        try:
            self._classifier = SentimentClassifier(path, settings)
            with (path / "model.safetensors").open("rb") as weights:
                hash = file_digest(weights, "sha256").hexdigest()
        except (OSError, ValueError) as exc:
            raise Misconfigured(f"CLUSTER_SENTIMENT_PATH: {path} cannot be loaded: {exc}") from exc
        self.version = f"{path.name}-{hash[:12]}"

    def score(self, texts: Sequence[str], vectors: Floats) -> Floats:  # noqa: ARG002  the contract of ``SentimentScorer``
        """Return the sentiment of each text. The vectors are not used."""
        return self._classifier.score(texts)


@cache
def open_sentiment_model(settings: Settings, fingerprint: Fingerprint) -> SentimentModel:
    """Return the sentiment model for the vectors of an embedding model. A process opens each model once.

    Raises:
        Misconfigured: the settings name a folder from which no sentiment model can be loaded.
    """
    if settings.sentiment_path is not None:
        return SentimentModel(TransformerScorer(settings.sentiment_path, settings))
    try:
        return SentimentModel(HeadScorer(fingerprint))
    except LookupError:
        return SentimentModel(LexiconScorer())
