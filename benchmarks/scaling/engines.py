"""Measures bulk ingests with more and more engines. An engine sleeps as long as a GPU would compute."""

import argparse
import logging
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.scaling.cpu_parts import CpuParts
from benchmarks.scaling.words import paragraph
from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from cluster.settings.models import ModelSetting
from cluster.settings.values import Table
from data_jobs.bulk.placement import DOCUMENTS_PER_BATCH
from data_jobs.bulk.report import IngestReport
from data_jobs.ingest import ingest
from tests.hashing_engine import HashingTokeniser
from tests.nodes import sleeping_engine

STARTUP = Path(sleeping_engine.__file__).with_name("startup")
ROOT = Path(__file__).parent.parent.parent
#: The rate is measured between these two shares of the documents. Before the first share, the engines still
#: start. After the second share, some engines have no more work. With six batches for each engine, each share
#: is reached when a batch ends.
FROM_SHARE, TO_SHARE = 1 / 3, 5 / 6


@dataclass(kw_only=True)
class TimedReport(IngestReport):
    """Records the number of written chunks over the time, and the CPU time in the middle of the run."""

    documents: int
    parts: CpuParts
    #: (time in seconds, chunks written by then) after each document.
    written: list[tuple[float, int]] = field(default_factory=list)
    #: CPU milliseconds per chunk, by part of the pipeline.
    cpu_ms: dict[str, float] = field(default_factory=dict)

    def add(self, result: Mapping[str, Any]) -> None:
        super().add(result)
        self.written.append((time.monotonic(), self.totals["chunks"]))
        if len(self.written) == round(self.documents * FROM_SHARE):
            self.parts.start()
        elif len(self.written) == round(self.documents * TO_SHARE):
            chunks = self.totals["chunks"] - self.written[round(self.documents * FROM_SHARE) - 1][1]
            self.cpu_ms = {part: 1_000 * used / chunks for part, used in self.parts.used_s().items()}

    def chunks_per_s(self) -> float:
        """Return how many chunks were written each second in the middle of the run (linear regression)."""
        count = len(self.written)
        middle = self.written[round(count * FROM_SHARE) : round(count * TO_SHARE)]
        return statistics.linear_regression(*zip(*middle, strict=True)).slope


@dataclass(frozen=True)
class EngineRun:
    """The result of one ingest."""

    engines: int
    chunks: int
    chunks_per_s: float
    #: Chunks a second that the engines compute if they never wait.
    engines_chunks_per_s: float
    #: CPU milliseconds per chunk, by part of the pipeline.
    cpu_ms: dict[str, float]


def run(options: argparse.Namespace) -> None:
    """Run the ingests, and print the table."""
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres must read it, and runs as another user if we are root
        source = f"{sleeping_engine.KIND}:64@{options.milliseconds:g}"
        settings = Settings(
            home=Path(home),
            log_level="WARNING",
            model=sleeping_engine.NAME,
            models=Table({sleeping_engine.NAME: ModelSetting(source=source)}),
            gpus_per_engine_process=1.0,
        )
        sleeping_engine.register()
        try:
            open_pool(settings, access=OWNER).close()
            _start_ray(cpus=options.cpus + max(options.engines), gpus=max(options.engines))
            runs = []
            for count in options.engines:
                runs.append(_ingest(settings, count, options))
                print(runs[-1], file=sys.stderr)
        finally:
            ray.shutdown()
            bundled.stop(settings)
    Console(width=110).print(_table(runs))


def _start_ray(*, cpus: int, gpus: int) -> None:
    os.environ["PYTHONPATH"] = os.pathsep.join([str(STARTUP), str(ROOT)])
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    logging.getLogger("ray").setLevel(logging.ERROR)
    ray.init(num_cpus=cpus, num_gpus=gpus, include_dashboard=False, log_to_driver=False)


def _ingest(settings: Settings, engines: int, options: argparse.Namespace) -> EngineRun:
    documents = engines * options.batches * DOCUMENTS_PER_BATCH
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as folder:
        chance = random.Random(engines)
        for number in range(documents):
            text = "\n\n".join(paragraph(chance, 100) for _ in range(options.words // 100))
            (Path(folder) / f"{number}.txt").write_text(text)
        report = TimedReport(console=Console(quiet=True), documents=documents, parts=CpuParts(settings))
        changed = settings.model_copy(update={"bulk_engines": engines})
        ingest(changed, folder, f"engines-{engines}", report)
    assert not report.failed, report.failures[:3]
    chunks = report.totals["chunks"]
    tokens = report.totals["tokens_embedded"] / chunks + HashingTokeniser.special_tokens
    limit = engines / (tokens * options.milliseconds / 1e6)
    return EngineRun(engines, chunks, report.chunks_per_s(), limit, report.cpu_ms)


def _table(runs: list[EngineRun]) -> Shown:
    first = runs[0]
    table = Shown(
        title=f"Bulk ingest with engines that sleep; {os.cpu_count()} cores", caption=_bottleneck(runs)
    )
    parts = list(first.cpu_ms)
    for column in (
        "engines",
        "chunks",
        "chunks/s",
        "of linear",
        "engines busy",
        *(f"{part}, CPU ms a chunk" for part in parts),
    ):
        table.add_column(column, justify="right")
    for one in runs:
        linear = one.chunks_per_s / (first.chunks_per_s * one.engines / first.engines)
        busy = one.chunks_per_s / one.engines_chunks_per_s
        cpu = (f"{one.cpu_ms[part]:.2f}" for part in parts)
        row = (
            f"{one.engines}",
            f"{one.chunks:,}",
            f"{one.chunks_per_s:,.1f}",
            f"{linear:.2f}",
            f"{busy:.2f}",
        )
        table.add_row(*row, *cpu)
    return table


def _bottleneck(runs: list[EngineRun]) -> str:
    """Return a sentence about the part of the pipeline that limits the ingest when the engines do not."""
    last = runs[-1]
    most = max(last.cpu_ms, key=lambda part: last.cpu_ms[part])
    total = sum(last.cpu_ms.values())
    share = f"{last.cpu_ms[most]:.1f} of {total:.1f} ms a chunk"
    rate = f"{1_000 / total:,.0f} chunks/s"
    return f"Bottleneck after the engines: CPU time, mostly of {most} ({share}). A core carries {rate}."
