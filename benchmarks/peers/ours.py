"""``data_jobs.ingest`` into a new store. Ray runs already; the time includes everything else."""

import json
import sys
import time
from pathlib import Path

from cluster.database import bundled, open_pool
from cluster.settings import Settings
from data_jobs.bulk.ray_session import ray_session
from data_jobs.bulk.report import IngestReport
from data_jobs.ingest import ingest


def main(folder: Path) -> dict[str, float]:
    """Ingest the folder; returns the counts and the seconds."""
    settings = Settings()
    open_pool(settings).close()
    report = IngestReport()
    try:
        with ray_session(settings):
            started = time.perf_counter()
            ingest(settings, str(folder), "bench", report)
            seconds = time.perf_counter() - started
    finally:
        bundled.stop(settings)
    totals = report.totals
    assert not report.failed, report.failures
    names = ("documents", "pages", "chunks", "tokens", "tokens_embedded")
    return {**{name: totals[name] for name in names}, "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
