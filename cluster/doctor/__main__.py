"""Runs the command behind ``make doctor``.

python -m cluster.doctor --mend
"""

import argparse
import json
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from cluster.command import run
from cluster.doctor.examination import examine
from cluster.doctor.report import Finding, HealthReport
from cluster.settings import Settings

EXIT_HEALTHY, EXIT_SICK = 0, 1  # ``cluster.command`` has the other exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    return run(
        lambda settings: _examine(settings, options), Console(stderr=True, highlight=False), log_level="ERROR"
    )


def _examine(settings: Settings, options: argparse.Namespace) -> int:
    report = examine(settings, mend=options.mend)
    if options.json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        _show(report, Console(highlight=False, soft_wrap=True))
    return EXIT_HEALTHY if report.healthy else EXIT_SICK


def _show(report: HealthReport, console: Console) -> None:
    for part in report.parts:
        state = "[green]fine [/]" if part.fine else "[red]wrong[/]"
        console.print(f"{state}  [bold]{part.name:<9}[/] {escape(part.says)}")
        if part.remedy:
            console.print(f"                 → {escape(part.remedy)}")
    for finding in report.findings:
        state = "[red]wrong[/]" if finding.remaining else "[green]mended[/]"
        console.print(f"\n{state}  [bold]{finding.name}[/]: {finding.count} {escape(finding.says)}")
        shown = ", ".join(finding.examples) + (", …" if finding.count > len(finding.examples) else "")
        console.print(f"       {escape(shown)}")
        console.print(f"       → {escape(_advice(finding))}")
    if report.healthy:
        console.print("\nAll is well.", style="bold green")


def _advice(finding: Finding) -> str:
    if finding.mended is None:
        return f"--mend {finding.remedy}"
    if finding.remaining == 0:
        return "done"
    return f"{finding.mended} mended, {finding.remaining} not" + (
        f": {finding.trouble}" if finding.trouble else ""
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.doctor",
        description="Check the parts of the cluster, find contradictions in its data, and say what to do.",
        epilog="Exit code 0: nothing is wrong, or everything is mended; 1: something is wrong. "
        "Settings are environment variables, listed in docs/settings.md.",
    )
    parser.add_argument(
        "--mend", action="store_true", help="repair the findings; without this option nothing is changed"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    return parser


if __name__ == "__main__":
    sys.exit(main())
