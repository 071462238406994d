"""Runs the command behind ``make demo``, which ingests a folder and asks up to three questions about it. Then
an agent answers the last question.

The command needs no preparation. At its end, also after a failure or an interrupt, the command stops
everything that it started. A cluster that ran before keeps running.

    python -m cluster.local.demo [FOLDER]
"""

import argparse
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from rich.console import Console
from rich.markup import escape

from cluster.command import read_settings
from cluster.database import bundled
from cluster.errors import ClusterError
from cluster.local import agent_demo, handbook, lifecycle, ray_head
from cluster.local.environment import driver_environment
from cluster.local.next_steps import next_steps
from cluster.local.questions import HANDBOOK_QUESTIONS, SearchAnswer, ask, questions_about, store_name
from cluster.logs import configure
from cluster.settings import Settings

HANDBOOK_STORE = "handbook"
#: Exit codes of a complete ingest. 0: all documents are searchable; 3: some documents are not.
INGESTED = (0, 3)
EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(highlight=False)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        settings = read_settings()
        configure(settings.model_copy(update={"log_level": "WARNING"}))
        with _cluster(settings, console):
            return _demo(settings, console, options.folder)
    except ClusterError as exc:
        console.print(f"[red]failed:[/] {escape(str(exc))}")
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _demo(settings: Settings, console: Console, folder: Path | None) -> int:
    if folder is None:
        documents, store = handbook.build(settings.home / "handbook"), HANDBOOK_STORE
    else:
        documents, store = folder, store_name(folder)
    console.rule(escape(f"Ingesting {documents} into the vector store {store}"), align="left")
    code = _ingest(settings, documents, store)
    if code not in INGESTED:
        return code
    questions = HANDBOOK_QUESTIONS if folder is None else questions_about(settings, store)
    console.rule(
        "Asking the vector store" if questions else "No questions: no document is searchable", align="left"
    )
    for question in questions:
        _print_answers(console, question, ask(settings, store, question))
    if questions:
        console.rule("Asking an agent, which streams its answer", align="left")
        _print_streamed_answer(settings, console, store, questions[-1])
    console.rule("Next: run make up, then try", align="left")
    print(next_steps(settings, store))
    return EXIT_OK


def _ingest(settings: Settings, documents: Path, store: str) -> int:
    """Run the ingest command with its progress bar on this terminal, and return its exit code."""
    command = [sys.executable, "-m", "data_jobs.ingest", str(documents.absolute()), "--vector-store", store]
    quiet = {"CLUSTER_LOG_LEVEL": "WARNING"}  # the summary shows enough
    return subprocess.run(command, env={**quiet, **driver_environment(settings)}, check=False).returncode


def _print_answers(console: Console, question: str, answers: Sequence[SearchAnswer]) -> None:
    console.print(f"\n[bold cyan]?[/] [bold]{escape(question)}[/]")
    for answer in answers:
        console.print(
            f"  [green]{escape(answer.filename)}, page {answer.page}[/]  [dim]score {answer.score:.2f}[/]"
        )
        console.print(f"  {escape(answer.excerpt)}")


def _print_streamed_answer(settings: Settings, console: Console, store: str, question: str) -> None:
    agent = agent_demo.create_agent(settings, store)
    console.print(f"\n[bold cyan]?[/] [bold]{escape(question)}[/]  [dim]agent:{agent}[/]\n")
    show: Callable[[str], None] = lambda text: console.print(escape(text), end="")  # noqa: E731
    sources = agent_demo.stream_answer(settings, agent, question, show)
    console.print("\n")
    for source in sources:
        console.print(f"  [green]\\[{source.number}] {escape(source.filename)}, page {source.page}[/]")
    console.print()


@contextmanager
def _cluster(settings: Settings, console: Console) -> Iterator[None]:
    """Run the cluster during the ``with`` block. Afterwards, stop Ray and Postgres if Ray did not run before.

    A bundled Postgres that ran before keeps running.
    """
    report: Callable[[str], None] = lambda line: console.print(f"[dim]·[/] {escape(line)}")  # noqa: E731
    had_ray = ray_head.running(settings) is not None
    had_postgres = bundled.status(settings).running
    try:
        lifecycle.up(settings, report)
        yield
    finally:
        if not had_ray:
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C would leave processes running
            lifecycle.down(settings, report, postgres=not had_postgres)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _folder(text: str) -> Path:
    path = Path(text).expanduser()
    if not path.exists():
        raise argparse.ArgumentTypeError(f"{text}: there is no such file or folder")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local.demo",
        description="Ingest a folder, ask it three questions, print the answers with file and page, and let "
        "an agent answer.",
    )
    parser.add_argument(
        "folder",
        nargs="?",
        type=_folder,
        help="folder with documents of your own (default: this project's handbook)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
