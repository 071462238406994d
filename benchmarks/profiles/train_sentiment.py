"""Train the linear head of the sentiment, and measure it: each of Hutto's four sets by a head of the others.

    python -m benchmarks.profiles.train_sentiment ../shared/data/sentiment
    python -m benchmarks.profiles.train_sentiment ../shared/data/sentiment --write

Prints Pearson's r for each set, with that of VADER alone, and fails if one is below the promise of
docs/sentiment.md. With --write, the head of all four sets is written into cluster/sentiment/weights.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cluster.engines import Engine, Registry, open_engine
from cluster.sentiment.lexicon import lexicon_features
from cluster.sentiment.linear_head import RatedTexts, fit
from cluster.settings import Settings

#: Name of each set's file without its end, and the smallest r that a head of the other three must have.
PROMISED = {
    "tweets": 0.80,
    "amazonReviewSnippets": 0.65,
    "movieReviewSnippets": 0.58,
    "nytEditorialSnippets": 0.54,
}
WEIGHTS = Path(__file__).parents[2] / "cluster" / "sentiment" / "weights"


def main() -> int:
    """Run the command, and return its exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with Hutto's four files")
    parser.add_argument("--write", action="store_true", help="write the head of all four sets")
    options = parser.parse_args()
    engine = open_engine(Registry(Settings()).default)
    space = engine.fingerprint.id
    sets = {name: read(options.folder / f"{name}_GroundTruth.txt", engine) for name in PROMISED}
    failed = False
    print(f"{'set':22} {'texts':>6} {'VADER':>6} {'head':>6} {'promised':>8}")
    for name, promised in PROMISED.items():
        held_out = sets[name]
        head = fit(space, [one for other, one in sets.items() if other != name])
        r = correlation(head.score(held_out.vectors, held_out.lexicon), held_out.ratings)
        alone = correlation(held_out.lexicon[:, 0], held_out.ratings)
        print(f"{name:22} {len(held_out.ratings):6,} {alone:6.3f} {r:6.3f} {promised:8.2f}")
        failed |= r < promised
    if options.write:
        head = fit(space, list(sets.values()))
        file = WEIGHTS / f"{engine.fingerprint.model}.json"
        file.write_text(head.to_json() + "\n")
        print(f"wrote {file}")
    return int(failed)


def read(file: Path, engine: Engine) -> RatedTexts:
    """Read one set: a line has an id, the mean rating and the text."""
    lines = [line.split("\t") for line in file.read_text(errors="replace").split("\n") if line]
    texts = [line[2] for line in lines]
    return RatedTexts(
        vectors=engine.embed(texts).vectors,
        lexicon=lexicon_features(texts),
        ratings=np.array([float(line[1]) for line in lines]),
    )


def correlation(scores: NDArray[np.floating], ratings: NDArray[np.floating]) -> float:
    """Pearson's r."""
    return float(np.corrcoef(scores, ratings)[0, 1])


if __name__ == "__main__":
    sys.exit(main())
