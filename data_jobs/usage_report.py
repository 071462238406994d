"""Make usage reports of one or all organisations in this process, without a worker.

    python -m data_jobs.usage_report --organisation acme --period previous --output reports
    python -m data_jobs.usage_report --all

``--all`` makes every report that is due: the final report of each billing period whose grace period is over,
and a draft of each period that ended later. The daily schedule of the cluster does the same. A report that
exists is not made again, so the command may be stopped and repeated at any time.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from psycopg import Connection
from psycopg_pool import ConnectionPool
from rich.console import Console
from rich.markup import escape

from cluster.analytics.rollups import compute_days
from cluster.blobs import BlobStore, open_blob_store
from cluster.command import EXIT_FAILED, run
from cluster.database import open_pool, organisation_access, translated
from cluster.database.row_access import ALL
from cluster.organisations.caller import acting_as, command_user
from cluster.settings import Settings
from cluster.usage_reports.exact import plain
from cluster.usage_reports.making import ReportMaker
from cluster.usage_reports.reports import UsageReport, organisations_with_reports
from cluster.usage_reports.requests import request_report
from cluster.usage_reports.stored_files import read_file


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(lambda settings: _make(settings, options, console), console, log_level="ERROR")


def _make(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    access = ALL if options.all else organisation_access(options.organisation or settings.organisation)
    with acting_as(command_user()), closing(open_pool(settings, access=access)) as pool, translated():
        maker = ReportMaker(
            opener=partial(_transaction, pool),
            blobs=open_blob_store(settings),
            roll_up=partial(compute_days, pool),
            grace_days=settings.usage_report_grace_days,
        )
        if options.all:
            return _make_all(maker, options, console)
        organisation = options.organisation or settings.organisation
        now = datetime.now(UTC)
        with maker.opener() as connection:
            report = request_report(
                connection,
                organisation,
                period=options.period,
                with_pdf=options.format == "pdf",
                grace_days=maker.grace_days,
                now=now,
            )
        _show(maker.make_requested(report, now), maker.blobs, options)
        return 0


def _make_all(maker: ReportMaker, options: argparse.Namespace, console: Console) -> int:
    """Make the due reports of all organisations. An error of one organisation does not stop the others."""
    with maker.opener() as connection:
        organisations = organisations_with_reports(connection)
    failed = 0
    for number, organisation in enumerate(organisations, start=1):
        try:
            for report in maker.make_due(organisation, datetime.now(UTC)):
                _show(report, maker.blobs, options)
        except Exception as exc:  # noqa: BLE001  printed and counted; the other organisations need their reports
            failed += 1
            console.print(escape(f"organisation {organisation}: {type(exc).__name__}: {exc}"))
        console.print(escape(f"{number} of {len(organisations)} organisations"))
    return EXIT_FAILED if failed else 0


def _show(report: UsageReport, blobs: BlobStore, options: argparse.Namespace) -> None:
    """Print the report as a line of JSON, and write its files if the user wants them."""
    files = []
    if options.output is not None:
        options.output.mkdir(parents=True, exist_ok=True)
        for format in ("csv", "pdf") if report.pdf_sha256 else ("csv",):
            path = (
                options.output / f"usage-{report.organisation}-{report.period_start}-{report.state}.{format}"
            )
            path.write_bytes(read_file(blobs, report, pdf=format == "pdf"))
            files.append(str(path))
    shown: dict[str, Any] = {
        "organisation": report.organisation,
        "id": report.id,
        "period_start": report.period_start.isoformat(),
        "period_end": report.period.last_day.isoformat(),
        "state": report.state,
        "events": report.events,
        "cost_usd": None if report.cost is None else plain(report.cost),
        "csv_sha256": report.csv_sha256,
        "pdf_sha256": report.pdf_sha256,
        "files": files,
    }
    print(json.dumps(shown), flush=True)


@contextmanager
def _transaction(pool: ConnectionPool) -> Iterator[Connection[Any]]:
    with pool.connection() as connection, connection.transaction():
        yield connection


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.usage_report",
        description="Make usage reports of one or all organisations, as CSV and PDF. Each report is printed "
        "as a line of JSON.",
        epilog="Settings are environment variables, listed in docs/settings.md. Exit codes: 0, done; 1, a "
        "report failed; 2, wrong usage.",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--organisation", help="owner of the report (default: CLUSTER_ORGANISATION)")
    whose.add_argument("--all", action="store_true", help="make every due report of all organisations")
    parser.add_argument(
        "--period",
        default="current",
        help="current, previous, or a day of the period such as 2026-03-01 (default: current)",
    )
    parser.add_argument(
        "--format", choices=("csv", "pdf"), default="pdf", help="pdf also makes the CSV (default: pdf)"
    )
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="also write the files into this folder")
    return parser


if __name__ == "__main__":
    sys.exit(main())
