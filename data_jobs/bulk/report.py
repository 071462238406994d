"""Show a person the progress of a bulk job and, at the end, a summary.

report = IngestReport()
with report.progress(total=20) as advance:
    advance(result)
report.print("Ingested docs/ into handbook")
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from cluster.documents.file_names import shown_name
from cluster.records import SEARCHABLE, Outcome

log = structlog.get_logger(__name__)

#: Seconds between two lines of progress in the log, if there is no terminal for a progress bar.
LOG_INTERVAL_S = 10.0
#: Maximum number of names that ``print`` shows in each list: documents that failed, documents that were
#: read in part, and folders and keys that were left out. The database has the outcomes of all documents.
MAX_DOCUMENTS_NAMED = 25


@dataclass(kw_only=True)
class IngestReport:
    """Counts the results of one run."""

    console: Console = field(default_factory=lambda: Console(stderr=True))
    outcomes: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    #: (source, outcome, detail) of documents that are not searchable.
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    #: (source, outcome, detail) of documents that were read only in part.
    partial: list[tuple[str, str, str]] = field(default_factory=list)
    #: (path, "left out", reason) of folders and keys that could not be listed. The number of documents in
    #: such a folder is unknown.
    left_out: list[tuple[str, str, str]] = field(default_factory=list)
    #: A sentence about the batches that remain at a provider after a run that was cut short; empty if no
    #: batch remains.
    remaining: str = ""
    #: Shows a text beside the progress bar.
    _show: Callable[[str], None] = field(default=lambda _: None, repr=False)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def add(self, result: Mapping[str, Any]) -> None:
        """Count one row of ``RESULTS``."""
        self.outcomes[result["outcome"]] += 1
        self.totals["documents"] += 1
        self.totals["unchanged"] += bool(result["unchanged"])
        for column in ("pages", "chunks", "embedded", "tokens", "tokens_embedded"):
            self.totals[column] += result[column]
        outcome = Outcome(result["outcome"])
        if outcome != Outcome.OK:
            documents = self.partial if outcome.searchable else self.failures
            documents.append((result["source"], outcome, result["detail"]))

    def describe(self, state: str) -> None:
        """Show what the run waits for, beside the progress bar or, if there is no terminal, in the log."""
        self._show(state)

    def leave_out(self, path: str, reason: str) -> None:
        """Count a folder or a key that could not be listed."""
        path = shown_name(path)
        self.left_out.append((path, "left out", reason))
        log.warning("left_out", path=path, reason=reason)

    @property
    def failed(self) -> int:
        """Number of documents that are not searchable after this run."""
        return self.totals["documents"] - sum(self.outcomes[outcome] for outcome in SEARCHABLE)

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as values that JSON can represent."""
        return {
            **{
                name: self.totals[name]
                for name in (
                    "documents",
                    "unchanged",
                    "pages",
                    "chunks",
                    "embedded",
                    "tokens",
                    "tokens_embedded",
                )
            },
            "outcomes": dict(self.outcomes),
            "left_out": [f"{path}: {reason}" for path, _, reason in self.left_out],
            "seconds": round(self.seconds, 3),
            "tokens_per_s": round(self.totals["tokens_embedded"] / self.seconds, 1) if self.seconds else 0.0,
        }

    @contextmanager
    def progress(self, total: int) -> Iterator[Callable[[Mapping[str, Any]], None]]:
        """Show a progress bar during the block. The block calls the yielded function with each result."""
        with self._bar() as bar:
            task = bar.add_task("starting", total=total)
            logged = time.monotonic()
            totals = self.totals

            def show(state: str) -> None:
                nonlocal logged
                bar.update(task, description=state)
                if not self.console.is_terminal and time.monotonic() - logged > LOG_INTERVAL_S:
                    logged = time.monotonic()
                    log.info("progress", done=totals["documents"], total=total, state=state)

            self._show = show

            def advance(result: Mapping[str, Any]) -> None:
                nonlocal logged
                self.add(result)
                bar.update(
                    task,
                    advance=1,
                    total=max(total, totals["documents"]),  # an archive has a result for each entry
                    description=f"{totals['chunks']:,} chunks, {totals['tokens_embedded']:,} tokens",
                )
                if not self.console.is_terminal and time.monotonic() - logged > LOG_INTERVAL_S:
                    logged = time.monotonic()
                    log.info(
                        "progress",
                        done=totals["documents"],
                        total=total,
                        failed=self.failed,
                        chunks=totals["chunks"],
                    )

            yield advance
        self.seconds = time.monotonic() - self.started

    def _bar(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            MofNCompleteColumn(),
            BarColumn(),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )

    def print(self, title: str) -> None:
        """Print the summary as a table. Below the table, print the documents that failed or were read only in
        part, and what was left out, each with the reason.
        """
        table = Table(title=escape(shown_name(title)), show_header=False, title_justify="left")
        table.add_column(style="bold")
        table.add_column(justify="right")
        totals = self.totals
        counts = [f"{totals['unchanged']:,} unchanged", f"{self.failed:,} failed"]
        if self.partial:
            counts.append(f"{len(self.partial):,} read in part")
        table.add_row("documents", f"{totals['documents']:,} ({', '.join(counts)})")
        table.add_row("pages", f"{totals['pages']:,}")
        table.add_row("chunks", f"{totals['chunks']:,} ({totals['embedded']:,} embedded now)")
        table.add_row("tokens", f"{totals['tokens']:,} ({totals['tokens_embedded']:,} embedded now)")
        table.add_row("seconds", f"{self.seconds:,.1f}")
        table.add_row("tokens/s", f"{self.to_dict()['tokens_per_s']:,.0f}")
        self.console.print(table)
        for kind in (self.failures, self.partial, self.left_out):
            for name, outcome, detail in kind[:MAX_DOCUMENTS_NAMED]:
                self.console.print(f"  [yellow]{outcome}[/] {escape(name)}: {escape(detail)}")
            if len(kind) > MAX_DOCUMENTS_NAMED:
                self.console.print(f"  ... and {len(kind) - MAX_DOCUMENTS_NAMED:,} more")
