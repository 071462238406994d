"""Ask the doctor: what ``make doctor`` calls.

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
from cluster.doctor.report import Finding, Report
from cluster.settings import Settings

EXIT_HEALTHY, EXIT_SICK = 0, 1  # and those of ``cluster.command``


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the process's exit code."""
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


def _show(report: Report, console: Console) -> None:
    for part in report.parts:
        state = "[green]fine [/]" if part.fine else "[red]wrong[/]"
        console.print(f"{state}  [bold]{part.name:<9}[/] {escape(part.says)}")
        if part.remedy:
            console.print(f"                 → {escape(part.remedy)}")
    for finding in report.findings:
        state = "[red]wrong[/]" if finding.left else "[green]mended[/]"
        console.print(f"\n{state}  [bold]{finding.name}[/]: {finding.count} {escape(finding.says)}")
        shown = ", ".join(finding.examples) + (", …" if finding.count > len(finding.examples) else "")
        console.print(f"       {escape(shown)}")
        console.print(f"       → {escape(_advice(finding))}")
    if report.healthy:
        console.print("\nAll is well.", style="bold green")


def _advice(finding: Finding) -> str:
    if finding.mended is None:
        return f"--mend {finding.remedy}"
    if finding.left == 0:
        return "done"
    return f"{finding.mended} mended, {finding.left} left" + (
        f": {finding.trouble}" if finding.trouble else ""
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.doctor",
        description="What is wrong with the cluster and what to do: its parts, one by one, and what contradicts itself in its data.",
        epilog="Exit code 0: nothing is wrong (any more); 1: something is. Settings come from the environment, as in docs/settings.md.",
    )
    parser.add_argument(
        "--mend", action="store_true", help="mend what can be mended; without it nothing is changed"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object instead of lines for people"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
