"""The engine beside ``SentenceTransformer.encode`` on the same weights, in one run, and beside what the machine can do at all.

    python -m benchmarks.engine --rounds 5

Texts are the Python language reference as it comes with Python (``pydoc_data``), cut to a mix as a search application
sees it: half chunks of 120-180 words, three tenths passages of 30-110, two tenths questions of 4-14. Every party is a process
of its own and works while the others sleep, in turns; medians are printed. sentence-transformers runs at three batch
sizes and the best one is the baseline. Everything counts, tokenising included. FLOPs are those of linear layers and
attention on real tokens; the peak is that of matrix products in the same type, measured in every round. On a machine with a GPU all
parties use it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from cluster.engines import open_tokeniser
from cluster.engines.weights import open_model_folder
from cluster.settings import Settings

OURS = ("ours float32", "ours bfloat16")
THEIRS = (*(f"sentence-transformers, batch {size}" for size in (16, 32, 64)), "sentence-transformers, batch 32 passive")
QUERY = "How long is the notice period of the contract?"
#: Share of the texts, fewest and most words.
MIX = ((0.5, 120, 180), (0.3, 30, 110), (0.2, 4, 14))
COLD_STARTS = 3


class Party:
    """One process of ``benchmarks.peers.encode``."""

    def __init__(self, name: str) -> None:
        self.name = name
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.peers.encode", name]
        passive = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0"} if name.endswith("passive") else {}
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", **passive}
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self._process = subprocess.Popen(command, env=environment, cwd=Path(__file__).parent.parent, text=True, **pipes)
        self._answer()
        #: Seconds from nothing to the first vector.
        self.cold_start_s = time.perf_counter() - started

    def ask(self, **order: Any) -> dict[str, float]:
        """What the process answers to an order."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _answer(self) -> dict[str, float]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, float] = json.loads(line)
                return answer
        raise SystemExit(f"{self.name} ended; run it alone: python -m benchmarks.peers.encode {self.name!r}")


def main() -> int:
    """Run the rounds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds; the medians are printed (default: %(default)s)")
    parser.add_argument("--texts", type=int, default=128, help="texts of one round (default: %(default)s)")
    arguments = parser.parse_args()
    texts = mixed_texts(arguments.texts)
    lengths = tokens_read(texts)
    cold = {name: statistics.median(_cold_start(name) for _ in range(COLD_STARTS)) for name in (*OURS, THEIRS[0])}
    parties = [Party(name) for name in (*OURS, *THEIRS)]
    with tempfile.TemporaryDirectory() as folder:
        seen = [_round(parties, texts, Path(folder), number) for number in range(arguments.rounds)]
        vectors = {party.name: np.load(Path(folder) / f"{party.name}.npy") for party in parties}
    for party in parties:
        party.close()
    _print(seen, cold, vectors, lengths)
    return 0


def mixed_texts(count: int) -> list[str]:
    """Real prose in the lengths of a search application; the same on every run."""
    words = " ".join(topics[name] for name in sorted(topics)).split()
    draw = np.random.default_rng(0)
    texts = []
    for share, fewest, most in MIX:
        for _ in range(round(share * count)):
            length, at = int(draw.integers(fewest, most + 1)), int(draw.integers(0, len(words) - most))
            texts.append(" ".join(words[at : at + length]))
    return [texts[i] for i in draw.permutation(len(texts))]


def tokens_read(texts: list[str]) -> NDArray[np.int64]:
    """(n,) tokens the model reads of each text, special tokens included."""
    tokeniser = open_tokeniser(Settings())
    return np.minimum(tokeniser.count(texts), tokeniser.max_content_tokens).astype(np.int64) + tokeniser.special_tokens


def flops(lengths: NDArray[np.int64]) -> float:
    """Multiplications and additions of the linear layers and of attention on these inputs."""
    config = open_model_folder(Settings()).config
    hidden, inner, layers = (int(config[key]) for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    linear = 2 * (4 * hidden * hidden + 2 * hidden * inner) * lengths.sum()
    attention = 4 * hidden * (lengths**2).sum()
    return float(layers * (linear + attention))


def _cold_start(name: str) -> float:
    party = Party(name)
    party.close()
    return party.cold_start_s


def _round(parties: list[Party], texts: list[str], folder: Path, number: int) -> dict[str, float]:
    print(f"round {number + 1}", file=sys.stderr)
    seen = {}
    for party in parties:
        if party.name in OURS:
            dtype = party.name.removeprefix("ours ")
            seen[f"peak {party.name}"] = party.ask(do="peak", dtype=dtype)["flops_per_s"]
        save = str(folder / f"{party.name}.npy") if number == 0 else ""
        mix = party.ask(do="mix", texts=texts, save=save)
        seen |= {f"mix {party.name}": mix["seconds"], f"processor {party.name}": mix["processor_s"]}
        seen[f"query {party.name}"] = party.ask(do="query", text=QUERY)["seconds"]
    return seen


def _ratio(seen: list[dict[str, float]], what: str, name: str) -> float:
    """Median over the rounds of a party's time to that of the best of theirs."""
    best = min(THEIRS, key=lambda their: statistics.median(one[f"{what} {their}"] for one in seen))
    return statistics.median(one[f"{what} {name}"] / one[f"{what} {best}"] for one in seen)


def _print(seen: list[dict[str, float]], cold: dict[str, float], vectors: dict[str, Any], lengths: NDArray[np.int64]) -> None:
    medians = {key: statistics.median(one[key] for one in seen) for key in seen[0]}
    work, tokens = flops(lengths), int(lengths.sum())
    title = f"{len(lengths)} texts, {tokens:,} tokens, {len(os.sched_getaffinity(0))} cores, medians of {len(seen)} rounds"
    table = Table(title=title, box=box.MARKDOWN)
    for column in (
        "",
        "tokens/s",
        "over best",
        "by CPU time",
        "GFLOP/s",
        "of peak",
        "one query",
        "of theirs",
        "cold start",
        "of theirs",
        "least cosine",
    ):
        table.add_column(column, justify="right" if column else "left")
    for name, own in vectors.items():
        seconds = medians[f"mix {name}"]
        peak = f"{work / seconds / medians[f'peak {name}']:.0%}" if name in OURS else ""
        started = (f"{cold[name]:.1f} s", f"{cold[name] / cold[THEIRS[0]]:.2f}") if name in cold else ("", "")
        table.add_row(
            name,
            f"{tokens / seconds:,.0f}",
            f"{1 / _ratio(seen, 'mix', name):.2f}x",
            f"{1 / _ratio(seen, 'processor', name):.2f}x",
            f"{work / seconds / 1e9:,.0f}",
            peak,
            f"{medians[f'query {name}'] * 1e3:.1f} ms",
            f"{_ratio(seen, 'query', name):.2f}",
            *started,
            f"{np.einsum('nd,nd->n', own, vectors[THEIRS[0]]).min():.6f}",
        )
    Console(width=200).print(table)
    for name in OURS:
        print(f"peak, {name.removeprefix('ours ')}: {medians[f'peak {name}'] / 1e9:,.0f} GFLOP/s")


if __name__ == "__main__":
    sys.exit(main())
