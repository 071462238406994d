"""Compare the engine with ``SentenceTransformer.encode`` on the same weights, and with the machine's peak.

    python -m benchmarks.engine --rounds 5
    python -m benchmarks.engine --models base --loads full      # a model of the shape of bge-base, long texts

Texts come from the Python language reference, which is part of Python (``pydoc_data``). The load "mix"
imitates a search application: half chunks of 120-180 words, three tenths passages of 30-110, two tenths
questions of 4-14. The load "full" has texts longer than the model reads, which are cut. A party is one of the
programs compared: a process of its own, which works while the others sleep. Parties take turns, and medians
are printed. sentence-transformers runs with several batch sizes, and the best is the baseline. The time
includes tokenising. FLOPs are those of linear layers and attention on real tokens; the peak is that of matrix
products in the same type, measured in every round. On a machine with a GPU, all parties use it,
sentence-transformers in bfloat16 too, and models of the shapes of bge-base and bge-large run beside MiniLM.
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
import torch
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.peers.shapes import MINILM, SHAPES, folder_of
from cluster.engines import Registry, open_tokeniser
from cluster.engines.choice.processor import multiplies_bf16
from cluster.engines.weights import open_model_folder
from cluster.logs import configure
from cluster.settings import Settings

PASSIVE_WAITING = " passive"
BASELINES = (
    *(f"sentence-transformers, batch {size}" for size in (16, 32, 64)),
    f"sentence-transformers, batch 32{PASSIVE_WAITING}",
)
BASELINES_CUDA = tuple(
    f"sentence-transformers, batch {size} {dtype}"
    for dtype in ("float32", "bfloat16")
    for size in (32, 128, 512)
)
QUERY = "How long is the notice period of the contract?"
#: For each kind of text: its share of the texts, its fewest and its most words.
LOADS = {"mix": ((0.5, 120, 180), (0.3, 30, 110), (0.2, 4, 14)), "full": ((1.0, 600, 600),)}
TEXTS, TEXTS_CUDA = 128, 8_192
COLD_STARTS = 3

EngineRounds = list[dict[str, float]]


class EngineParty:
    """A party: one process of ``benchmarks.peers.encode``."""

    def __init__(self, name: str, model: Path) -> None:
        self.name = name
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.peers.encode", name]
        passive = (
            {"OMP_WAIT_POLICY": "PASSIVE_WAITING", "GOMP_SPINCOUNT": "0"}
            if name.endswith(PASSIVE_WAITING)
            else {}
        )
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "CLUSTER_MODEL_PATH": str(model), **passive}
        pipes: dict[str, Any] = {
            "stdin": subprocess.PIPE,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.DEVNULL,
        }
        self._process = subprocess.Popen(
            command, env=environment, cwd=Path(__file__).parent.parent, text=True, **pipes
        )
        self._answer()
        #: Seconds from the start of the process to the first vector.
        self.cold_start_s = time.perf_counter() - started

    def ask(self, **command: Any) -> dict[str, float]:
        """Send a command to the process; returns its answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(command) + "\n")
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
    """Run the rounds, and print a table for each model and load."""
    cuda = torch.cuda.is_available()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=5,
        help="interleaved rounds, whose medians are printed (default: %(default)s)",
    )
    parser.add_argument(
        "--texts",
        type=int,
        default=TEXTS_CUDA if cuda else TEXTS,
        help="texts of one round (default: %(default)s)",
    )
    models = [MINILM, *SHAPES]
    parser.add_argument(
        "--models",
        nargs="+",
        choices=models,
        default=models if cuda else [MINILM],
        help="default: %(default)s",
    )
    parser.add_argument(
        "--loads",
        nargs="+",
        choices=LOADS,
        default=list(LOADS) if cuda else ["mix"],
        help="default: %(default)s",
    )
    arguments = parser.parse_args()
    configure(Settings(log_level="WARNING"))
    for model in arguments.models:
        with folder_of(model) as folder:
            benchmark = EngineBenchmark(folder, cuda=cuda)
            for load in arguments.loads:
                print(f"\n{model}, {load}", file=sys.stderr)
                benchmark.run(f"{model}, {load}", texts_of(load, arguments.texts), arguments.rounds)
            benchmark.close()
    return 0


class EngineBenchmark:
    """Measures all parties on one model."""

    def __init__(self, model: Path, *, cuda: bool) -> None:
        self.settings = Settings(model_path=model)
        self.ours = ("ours float32", "ours bfloat16") if cuda or multiplies_bf16() else ("ours float32",)
        self.baselines = BASELINES_CUDA if cuda else BASELINES
        self.cold = {
            name: statistics.median(self._cold_start(name) for _ in range(COLD_STARTS))
            for name in (*self.ours, self.baselines[0])
        }
        self.parties = [EngineParty(name, model) for name in (*self.ours, *self.baselines)]

    def run(self, title: str, texts: list[str], rounds: int) -> None:
        """Run the rounds on these texts, and print their table."""
        with tempfile.TemporaryDirectory() as folder:
            seen = [self._round(texts, Path(folder), number) for number in range(rounds)]
            vectors = {party.name: np.load(Path(folder) / f"{party.name}.npy") for party in self.parties}
        self._print(title, seen, vectors, self.tokens_read(texts))

    def close(self) -> None:
        """End the parties."""
        for party in self.parties:
            party.close()

    def tokens_read(self, texts: list[str]) -> NDArray[np.int64]:
        """(n,) int64: number of tokens that the model reads of each text, special tokens included."""
        tokeniser = open_tokeniser(Registry(self.settings).default)
        return (
            np.minimum(tokeniser.count(texts), tokeniser.max_content_tokens).astype(np.int64)
            + tokeniser.special_tokens
        )

    def flops(self, lengths: NDArray[np.int64]) -> float:
        """Number of multiplications and additions in the linear layers and in attention for these inputs."""
        config = open_model_folder(Registry(self.settings).default).config
        hidden, inner, layers = (
            int(config[key]) for key in ("hidden_size", "intermediate_size", "num_hidden_layers")
        )
        linear = 2 * (4 * hidden * hidden + 2 * hidden * inner) * lengths.sum()
        attention = 4 * hidden * (lengths**2).sum()
        return float(layers * (linear + attention))

    def _cold_start(self, name: str) -> float:
        assert self.settings.model_path is not None
        party = EngineParty(name, self.settings.model_path)
        party.close()
        return party.cold_start_s

    def _round(self, texts: list[str], folder: Path, number: int) -> dict[str, float]:
        print(f"round {number + 1}", file=sys.stderr)
        seen = {}
        for party in self.parties:
            if party.name in self.ours:
                seen[f"peak {party.name}"] = party.ask(do="peak", dtype=party.name.removeprefix("ours "))[
                    "flops_per_s"
                ]
            save = str(folder / f"{party.name}.npy") if number == 0 else ""
            mix = party.ask(do="mix", texts=texts, save=save)
            seen |= {f"mix {party.name}": mix["seconds"], f"processor {party.name}": mix["processor_s"]}
            seen[f"query {party.name}"] = party.ask(do="query", text=QUERY)["seconds"]
        return seen

    def _ratio(self, seen: EngineRounds, what: str, name: str) -> float:
        """Median over the rounds of the ratio of a party's time to that of the best baseline."""
        best = min(
            self.baselines, key=lambda other: statistics.median(one[f"{what} {other}"] for one in seen)
        )
        return statistics.median(one[f"{what} {name}"] / one[f"{what} {best}"] for one in seen)

    def _print(
        self, title: str, seen: EngineRounds, vectors: dict[str, Any], lengths: NDArray[np.int64]
    ) -> None:
        medians = {key: statistics.median(one[key] for one in seen) for key in seen[0]}
        work, tokens = self.flops(lengths), int(lengths.sum())
        title += f": {len(lengths)} texts, {tokens:,} tokens, {len(os.sched_getaffinity(0))} cores"
        title += f", medians of {len(seen)} rounds"
        table = Table(title=title, box=box.MARKDOWN)
        columns = (
            "tokens/s",
            "over best",
            "by CPU time",
            "GFLOP/s",
            "of peak",
            "one query",
            "of theirs",
            "cold start",
            "of theirs",
        )
        for column in ("", *columns, "least cosine"):
            table.add_column(column, justify="right" if column else "left")
        for name, own in vectors.items():
            seconds = medians[f"mix {name}"]
            peak = (
                statistics.median(work / one[f"mix {name}"] / one[f"peak {name}"] for one in seen)
                if name in self.ours
                else None
            )
            started = (
                (f"{self.cold[name]:.1f} s", f"{self.cold[name] / self.cold[self.baselines[0]]:.2f}")
                if name in self.cold
                else ("", "")
            )
            table.add_row(
                name,
                f"{tokens / seconds:,.0f}",
                f"{1 / self._ratio(seen, 'mix', name):.2f}x",
                f"{1 / self._ratio(seen, 'processor', name):.2f}x",
                f"{work / seconds / 1e9:,.0f}",
                f"{peak:.0%}" if peak else "",
                f"{medians[f'query {name}'] * 1e3:.1f} ms",
                f"{self._ratio(seen, 'query', name):.2f}",
                *started,
                f"{np.einsum('nd,nd->n', own, vectors[self.baselines[0]]).min():.6f}",
            )
        Console(width=200).print(table)
        for name in self.ours:
            print(f"peak, {name.removeprefix('ours ')}: {medians[f'peak {name}'] / 1e9:,.0f} GFLOP/s")


def texts_of(load: str, count: int) -> list[str]:
    """Real prose in the lengths of the load; the same in every run."""
    words = " ".join(topics[name] for name in sorted(topics)).split()
    draw = np.random.default_rng(0)
    texts = []
    for share, fewest, most in LOADS[load]:
        for _ in range(round(share * count)):
            length, at = int(draw.integers(fewest, most + 1)), int(draw.integers(0, len(words) - most))
            texts.append(" ".join(words[at : at + length]))
    return [texts[i] for i in draw.permutation(len(texts))]


if __name__ == "__main__":
    sys.exit(main())
