"""Measure on your own texts how much recall 8-bit vectors cost. Engines refuse int8 until this has run.

    CLUSTER_HOME=... python -m cluster.engines.int8_gate texts.txt      # one text per line

The command finds the ten nearest other texts of every text, once by float32 vectors and once by 8-bit
vectors. recall@10 is the mean share of the first ten that is among the second. It is measured twice on 8-bit
texts, with 8-bit questions and with float32 questions, because a store and a question may differ; the lower
value counts. The result is kept under ``CLUSTER_HOME`` for these weights and this kind of processor. Other
weights or another processor need a new measurement.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cluster.engines.bert.int8 import weight_steps
from cluster.engines.choice.fastest import paths_for
from cluster.engines.choice.paths import Paths
from cluster.engines.local import LocalEngine, pick_device
from cluster.engines.registry import Registry
from cluster.engines.weights import ModelFolder, open_model_folder
from cluster.errors import Misconfigured
from cluster.settings import Settings

NEAREST = 10
#: Minimum number of texts. Among too few texts, ten neighbours would be a large share of all texts.
LEAST_TEXTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Int8Recall:
    """The recall in 8 bits, measured for one model on one kind of processor."""

    #: Mean share, 0 to 1, of the ten nearest texts by float32 that are also among the ten nearest texts by 8
    #: bits. This is the lower value of two measurements, one with 8-bit and one with float32 questions.
    recall: float
    #: Minimum cosine between the float32 vector and the 8-bit vector of the same text.
    least_cosine: float
    #: Number of texts in the measurement.
    texts: int


def require(folder: ModelFolder, settings: Settings) -> None:
    """Check that an engine may compute in 8 bits.

    Raises:
        Misconfigured: 8 bits are not faster than float32 on this processor, this torch has no 8-bit layers,
            or the recall of 8 bits was not measured, cannot be read or is lower than the settings allow.
    """
    if pick_device(settings) == "cpu":
        paths_for(folder, settings)
    file = _file(folder, settings)
    remedy = f"python -m cluster.engines.int8_gate TEXTS measures it on your own texts and writes {file}"
    try:
        measured = Int8Recall(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise Misconfigured(
            f"CLUSTER_PRECISION=int8: the recall of {folder.name} in 8 bits was not measured here; {remedy}"
        ) from None
    except (OSError, ValueError, TypeError) as exc:
        raise Misconfigured(f"{file} cannot be read ({exc}); {remedy}") from exc
    if measured.recall < settings.int8_least_recall:
        raise Misconfigured(
            f"CLUSTER_PRECISION=int8: recall@{NEAREST} of {folder.name} is {measured.recall:.3f} on "
            f"{measured.texts} texts, below "
            f"CLUSTER_INT8_LEAST_RECALL={settings.int8_least_recall:g}; set CLUSTER_PRECISION=auto"
        )


def measure(texts: list[str], settings: Settings) -> Int8Recall:
    """Embed the texts in float32 and in 8 bits, compare the vectors, and write the result to a file.

    Raises:
        Misconfigured: there are too few different texts, the model cannot be opened, this torch has no 8-bit
            layers, or 8 bits are not faster than float32 on this processor.
    """
    texts = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(texts) < LEAST_TEXTS:
        raise Misconfigured(
            f"{len(texts)} different texts are too few to measure recall; give at least {LEAST_TEXTS}"
        )
    folder = open_model_folder(Registry(settings).default)
    in_8_bits = settings.model_copy(update={"precision": "int8", "device": "cpu"})
    paths = paths_for(folder, in_8_bits)
    coarse = LocalEngine(folder, in_8_bits, Paths(query=paths.batch, batch=paths.batch)).embed(texts).vectors
    exact = LocalEngine(folder, in_8_bits.model_copy(update={"precision": "float32"})).embed(texts).vectors
    truth = nearest(exact, exact)
    measured = Int8Recall(
        recall=min(recall(nearest(questions, coarse), truth) for questions in (coarse, exact)),
        least_cosine=float(np.einsum("nd,nd->n", exact, coarse).min()),
        texts=len(texts),
    )
    file = _file(folder, settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(measured)), encoding="utf-8")
    return measured


def nearest(questions: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return (n, 10) indices of the texts nearest to each question.

    Text i is left out for question i, because both come from the same text.
    """
    scores = questions @ texts.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]


def recall(found: NDArray[np.intp], truth: NDArray[np.intp]) -> float:
    """Compute the mean share of the true neighbours that were found."""
    return float(
        np.mean([len(set(one) & set(other)) / NEAREST for one, other in zip(found, truth, strict=True)])
    )


def _file(folder: ModelFolder, settings: Settings) -> Path:
    return settings.home / "int8" / f"{folder.sha256[:12]}-{weight_steps()}.json"


def main() -> int:
    """Measure the recall and print it. Return 1 if the recall is too low for int8, else 0."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, help="a file with one text per line, such as the index holds")
    settings = Settings()
    measured = measure(parser.parse_args().texts.read_text(encoding="utf-8").splitlines(), settings)
    passed = measured.recall >= settings.int8_least_recall
    print(
        f"{settings.model}, {measured.texts} texts: recall@{NEAREST} {measured.recall:.3f} (at least "
        f"{settings.int8_least_recall:g}), "
        f"least cosine {measured.least_cosine:.4f}: {'passed' if passed else 'refused'}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
