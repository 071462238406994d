"""Ask agents golden questions, and measure how often their sources are right.

    python -m data_jobs.evaluate_agents golden.jsonl --organisation acme
    python -m data_jobs.evaluate_agents golden.jsonl --html report.html --tolerance 0.02

The questions are asked at the endpoint, as any client asks. The measures are stored, and compared with those
of the last evaluation of the same questions. docs/evaluation.md describes the file. Exit codes: 0, no measure
is worse; 1, a measure is worse by more than the tolerance, or a question failed with an error; 2, the file
has errors, or wrong usage.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from pathlib import Path

from pydantic import SecretStr
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cluster.command import EXIT_FAILED, EXIT_USAGE, run
from cluster.database import open_pool, organisation_access, translated
from cluster.errors import Misconfigured
from cluster.evaluation.evaluations import Evaluation, newest_evaluation, save_evaluation
from cluster.evaluation.golden import GoldenQuestion, golden_digest, read_golden
from cluster.evaluation.html_report import COLUMNS, html_report
from cluster.evaluation.measures import QuestionResult, measure_all, regressions
from cluster.local.addresses import reachable
from cluster.organisations.rows import get_organisation
from cluster.settings import Settings
from data_jobs.evaluation.asking import AgentAsker

#: Number of errors of questions that are printed.
SHOWN_ERRORS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(partial(_evaluate, options=options, console=console), console, log_level="ERROR")


def _evaluate(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    try:
        questions, faults = read_golden(options.path.read_bytes(), name=options.path.name)
    except OSError as exc:
        console.print(f"error: {options.path} cannot be read: {exc.strerror or exc}", markup=False)
        return EXIT_USAGE
    if faults:
        for fault in faults:
            console.print(str(fault), markup=False, soft_wrap=True)
        console.print(f"{len(faults):,} errors; no question was asked")
        return EXIT_USAGE
    organisation = options.organisation or settings.organisation
    with closing(open_pool(settings, access=organisation_access(organisation))) as pool:
        with translated(), pool.connection() as connection:
            get_organisation(connection, organisation)
        results = _asked(settings, options, questions, organisation, console)
        measures = measure_all(results)
        digest = golden_digest(questions)
        with translated(), pool.connection() as connection, connection.transaction():
            before = newest_evaluation(connection, organisation, digest)
            evaluation = save_evaluation(connection, organisation, options.path.name, digest, measures)
    Console(highlight=False).print(_table(evaluation))
    if options.html is not None:
        options.html.write_text(html_report(evaluation, results, before), encoding="utf-8")
    return _verdict(evaluation, before, results, options.tolerance, console)


def _asked(
    settings: Settings,
    options: argparse.Namespace,
    questions: Sequence[GoldenQuestion],
    organisation: str,
    console: Console,
) -> list[QuestionResult]:
    key = settings.api_key
    if options.key_env is not None:
        if not os.environ.get(options.key_env):
            raise Misconfigured(f"the environment variable {options.key_env} is not set")
        key = SecretStr(os.environ[options.key_env])
    url = options.url or f"http://{reachable(settings.api_host)}:{settings.api_port}/v1"
    # A key of an organisation acts for its own organisation, and may not name another one.
    named = organisation if options.key_env is None else None
    asker = AgentAsker(url, key=key, organisation=named)
    answers = asker.ask_all(questions, at_once=options.at_once)
    return list(track(answers, "Questions", total=len(questions), console=console))


def _verdict(
    evaluation: Evaluation,
    before: Evaluation | None,
    results: Sequence[QuestionResult],
    tolerance: float,
    console: Console,
) -> int:
    """Print what is worse than before and what failed, and return the exit code."""
    errors = [result for result in results if result.error is not None]
    for result in errors[:SHOWN_ERRORS]:
        asked = f"agent {result.question.agent}, {result.question.question!r}"
        console.print(f"error: {asked}: {result.error}", markup=False, soft_wrap=True)
    if errors:
        console.print(f"{len(errors):,} of {len(results):,} questions failed")
    worse = [] if before is None else regressions(evaluation.measures, before.measures, tolerance=tolerance)
    for regression in worse:
        console.print(f"worse: {regression}", markup=False)
    if before is None:
        console.print("this is the first evaluation of these questions; there is nothing to compare with")
    elif not worse:
        console.print(f"no measure is worse than on {before.created_at:%Y-%m-%d %H:%M} UTC")
    return EXIT_FAILED if worse or errors else 0


def _table(evaluation: Evaluation) -> Table:
    table = Table(title=f"Evaluation of {evaluation.name}")
    table.add_column("Agent")
    for _, title, _ in COLUMNS:
        table.add_column(title, justify="right")
    for agent, measures in evaluation.measures.items():
        values = [getattr(measures, name) for name, _, _ in COLUMNS]
        cells = ["–" if one is None else str(one) if isinstance(one, int) else f"{one:.3f}" for one in values]
        table.add_row("all agents" if agent is None else agent, *cells)
    return table


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _count(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 64:
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 64")
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.evaluate_agents",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="file with the golden questions: JSONL, CSV, YAML or JSON")
    parser.add_argument("--organisation", help="owner of the agents (default: CLUSTER_ORGANISATION)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="also write the result as an HTML page")
    parser.add_argument(
        "--tolerance",
        type=_share,
        default=0.0,
        help="largest loss of a measure that is no regression, 0 to 1 (default: 0)",
    )
    parser.add_argument("--at-once", type=_count, default=4, help="questions at the same time (default: 4)")
    parser.add_argument("--url", help="URL of the endpoint with /v1 (default: the endpoint of the settings)")
    parser.add_argument(
        "--key-env",
        metavar="NAME",
        help="variable with an API key of the organisation (default: CLUSTER_API_KEY, if it is set)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
