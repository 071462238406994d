"""Whether 8-bit vectors find what float32 ones find, measured on texts of yours. An engine computes in 8 bits only after this.

    CLUSTER_HOME=... python -m cluster.engines.int8_gate texts.txt      # a text a line

Of every text the ten nearest others are looked up, by float32 and by 8-bit vectors; recall@10 is the mean share of the first
ten that is among the second. It is taken with 8-bit texts twice, once with 8-bit questions and once with float32 ones, as
stores and questions may differ, and the lower one counts. The result is kept under ``CLUSTER_HOME`` for these weights and this
kind of processor; where they are others, it has to be measured again.
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
#: Fewer texts would make ten neighbours most of them.
LEAST_TEXTS = 200


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """What was seen of one model on one kind of processor."""

    #: Mean share of float32's ten nearest that 8 bits find too, 0 to 1.
    recall: float
    #: Least cosine of a text's two vectors.
    least_cosine: float
    #: Texts it was measured on.
    texts: int


def require(folder: ModelFolder, settings: Settings) -> None:
    """Let an engine go on that is about to compute in 8 bits.

    Raises:
        Misconfigured: 8 bits are not faster than float32 here; or their cost in recall was not measured, or they cost more than the
            settings allow.
    """
    if pick_device(settings) == "cpu":
        paths_for(folder, settings)
    file = _file(folder, settings)
    remedy = f"python -m cluster.engines.int8_gate TEXTS measures it on texts of yours and writes {file}"
    try:
        measured = Measured(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise Misconfigured(
            f"CLUSTER_PRECISION=int8: what it costs {folder.name} in recall was not measured here; {remedy}"
        ) from None
    except (OSError, ValueError, TypeError) as exc:
        raise Misconfigured(f"{file} cannot be read ({exc}); {remedy}") from exc
    if measured.recall < settings.int8_least_recall:
        raise Misconfigured(
            f"CLUSTER_PRECISION=int8: recall@{NEAREST} of {folder.name} is {measured.recall:.3f} on {measured.texts} texts, below "
            f"CLUSTER_INT8_LEAST_RECALL={settings.int8_least_recall:g}; set CLUSTER_PRECISION=auto"
        )


def measure(texts: list[str], settings: Settings) -> Measured:
    """Embed the texts both ways, compare, keep the result.

    Raises:
        Misconfigured: too few different texts, or 8 bits are not faster than float32 on this processor.
    """
    texts = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(texts) < LEAST_TEXTS:
        raise Misconfigured(
            f"{len(texts)} different texts say little about recall; give at least {LEAST_TEXTS}"
        )
    folder = open_model_folder(Registry(settings).default)
    in_8_bits = settings.model_copy(update={"precision": "int8", "device": "cpu"})
    paths = paths_for(folder, in_8_bits)
    coarse = LocalEngine(folder, in_8_bits, Paths(query=paths.batch, batch=paths.batch)).embed(texts).vectors
    exact = LocalEngine(folder, in_8_bits.model_copy(update={"precision": "float32"})).embed(texts).vectors
    truth = nearest(exact, exact)
    measured = Measured(
        recall=min(recall(nearest(questions, coarse), truth) for questions in (coarse, exact)),
        least_cosine=float(np.einsum("nd,nd->n", exact, coarse).min()),
        texts=len(texts),
    )
    file = _file(folder, settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(measured)), encoding="utf-8")
    return measured


def nearest(questions: NDArray[np.float32], texts: NDArray[np.float32]) -> NDArray[np.intp]:
    """(n, 10) indices of the texts nearest to each question, the text it is itself left out."""
    scores = questions @ texts.T
    np.fill_diagonal(scores, -np.inf)
    return np.argpartition(-scores, NEAREST, axis=1)[:, :NEAREST]


def recall(found: NDArray[np.intp], truth: NDArray[np.intp]) -> float:
    """Mean share of the truth that was found."""
    return float(
        np.mean([len(set(one) & set(other)) / NEAREST for one, other in zip(found, truth, strict=True)])
    )


def _file(folder: ModelFolder, settings: Settings) -> Path:
    return settings.home / "int8" / f"{folder.sha256[:12]}-{weight_steps()}.json"


def main() -> int:
    """Measure, print, and end with 1 when the engine would refuse."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("texts", type=Path, help="a file with a text a line, such as the index holds")
    settings = Settings()
    measured = measure(parser.parse_args().texts.read_text(encoding="utf-8").splitlines(), settings)
    passed = measured.recall >= settings.int8_least_recall
    print(
        f"{settings.model}, {measured.texts} texts: recall@{NEAREST} {measured.recall:.3f} (at least {settings.int8_least_recall:g}), "
        f"least cosine {measured.least_cosine:.4f}: {'passed' if passed else 'refused'}"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
