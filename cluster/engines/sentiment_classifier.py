"""Score the sentiment of texts with a transformer that classifies texts, loaded from a folder.

``cluster.sentiment`` opens the classifier if ``CLUSTER_SENTIMENT_PATH`` names a folder. The classifier runs
on sentence-transformers, on the device of the engines.

    classifier = SentimentClassifier(path, settings)
    classifier.score(["I love it!"])          # (1,) float32 in [-1, 1]
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.engines.cross_encoder import open_cross_encoder
from cluster.errors import Misconfigured
from cluster.settings import Settings

BATCH_SIZE = 32
#: Value of a class, by the name of the class in the model's configuration, in small letters.
VALUES: Mapping[str, float] = {
    "negative": -1.0,
    "neutral": 0.0,
    "positive": 1.0,
    "1 star": -1.0,
    "2 stars": -0.5,
    "3 stars": 0.0,
    "4 stars": 0.5,
    "5 stars": 1.0,
}


class SentimentClassifier:
    """A transformer whose classes are negative, positive and maybe neutral, or one to five stars.

    The class never runs code from the model's folder, and never loads pickled weights.

    Args:
        path: folder with the model.
        settings: decides the device.

    Raises:
        Misconfigured: the model has other classes.
    """

    def __init__(self, path: Path, settings: Settings) -> None:
        self._model = open_cross_encoder(path, settings)
        names = self._model.model.config.id2label
        classes = [str(names[place]).lower() for place in range(len(names))]
        if not set(classes) <= set(VALUES) or len(classes) < 2:
            raise Misconfigured(
                f"CLUSTER_SENTIMENT_PATH: {path} has the classes {', '.join(classes)}; a sentiment model has "
                "negative, neutral and positive, or 1 star to 5 stars, in its configuration (id2label)"
            )
        self._values = np.array([VALUES[name] for name in classes], dtype=np.float32)

    def score(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the expected value of each text's class: (n,) float32 in [-1, 1]. Long texts are cut."""
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        scores = np.empty(len(texts), dtype=np.float32)
        for first in range(0, len(order), BATCH_SIZE):
            part = order[first : first + BATCH_SIZE]
            scores[part] = self._probabilities([texts[place] for place in part]) @ self._values
        return scores

    def _probabilities(self, texts: Sequence[str]) -> NDArray[np.float32]:
        inputs = self._model.tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        with torch.inference_mode():
            logits = self._model.model(**inputs.to(self._model.model.device)).logits
        found: NDArray[np.float32] = torch.softmax(logits.float(), dim=-1).cpu().numpy()
        return found
