"""Measures the CPU time of the parts of a bulk ingest of real documents. The model runs on the CPU."""

import argparse
import os
import tempfile
from pathlib import Path

import ray
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.scaling.cpu_parts import ENGINES, CpuParts
from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.settings import Settings
from data_jobs.bulk.report import IngestReport
from data_jobs.ingest import ingest


def run(options: argparse.Namespace) -> None:
    """Ingest the folder, and print the table."""
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres must read it, and runs as another user if we are root
        settings = Settings(home=Path(home), log_level="WARNING")
        report = IngestReport(console=Console(quiet=True))
        try:
            open_pool(settings, access=OWNER).close()
            os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
            ray.init(num_cpus=4, num_gpus=0, include_dashboard=False, log_to_driver=False)
            parts = CpuParts(settings)
            parts.start()
            ingest(settings, str(options.documents), "documents", report)
            used = parts.used_s()
        finally:
            ray.shutdown()
            bundled.stop(settings)
    totals = report.totals
    table = Shown(
        title=f"{totals['documents']} documents, {totals['pages']} pages, {totals['chunks']:,} chunks, "
        f"{totals['tokens_embedded']:,} tokens; {os.cpu_count()} cores"
    )
    for column in ("part", "CPU s", "CPU ms a page", "CPU ms a chunk"):
        table.add_column(column, justify="left" if column == "part" else "right")
    used["all"] = sum(used.values())
    for part, seconds in used.items():
        per = (1_000 * seconds / totals[what] for what in ("pages", "chunks"))
        table.add_row(part, f"{seconds:.1f}", *(f"{each:.2f}" for each in per))
    rate = totals["tokens_embedded"] / used[ENGINES]
    Console(width=110).print(table, f"An engine computes {rate:,.0f} tokens in a second of a core.")
