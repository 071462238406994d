"""Write the questions of answers with positive feedback into a file of golden questions.

    python -m data_jobs.export_feedback golden.jsonl --organisation acme
    python -m data_jobs.evaluate_agents golden.jsonl --organisation acme

Each line names the agent, the question and the first file that the answer cites. A question that follows an
earlier question of its conversation is left out, because the evaluation asks each question by itself. An
answer without an agent or a file is left out, too.
"""

import argparse
import json
import re
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from rich.console import Console

from cluster.command import EXIT_FAILED, run
from cluster.database import open_pool, organisation_access, translated
from cluster.database.paging import read_all
from cluster.organisations.rows import get_organisation
from cluster.platform_data.feedback import FeedbackRating, RatedAnswer, list_feedback
from cluster.settings import Settings

#: The first citation in the text of an answer, such as ``[2]`` or ``[2, 3]``.
CITATION = re.compile(r"\[(\d{1,3})(?:\s*,\s*\d{1,3})*\]", re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)
    return run(lambda settings: _export(settings, options, console), console, log_level="ERROR")


def golden_question(rated: RatedAnswer) -> dict[str, str] | None:
    """Return the golden question of the answer; None if the question is left out."""
    file = _cited_file(rated)
    if rated.agent is None or not rated.question or rated.follow_up or file is None:
        return None
    return {"agent": rated.agent, "question": rated.question, "file": file}


def _cited_file(rated: RatedAnswer) -> str | None:
    """Return the id of the file that the answer cites first, or else that of its best source."""
    sources = [one for one in rated.sources if isinstance(one, dict) and isinstance(one.get("file_id"), str)]
    cited = CITATION.search(rated.answer)
    number = None if cited is None else int(cited.group(1))
    best = sorted(sources, key=lambda source: source.get("number") != number)
    return best[0]["file_id"] if best else None


def _export(settings: Settings, options: argparse.Namespace, console: Console) -> int:
    organisation = options.organisation or settings.organisation
    access = organisation_access(organisation)
    with closing(open_pool(settings, access=access)) as pool, translated(), pool.connection() as connection:
        get_organisation(connection, organisation)
        rated = read_all(
            lambda page: list_feedback(
                connection, organisation, page, rating=FeedbackRating.POSITIVE, agent=options.agent
            ),
            newest_first=False,
        )
    questions: list[dict[str, Any]] = [one for answer in rated if (one := golden_question(answer))]
    lines = [json.dumps(question, ensure_ascii=False) + "\n" for question in questions]
    try:
        options.path.write_text("".join(lines), encoding="utf-8")
    except OSError as exc:
        console.print(f"error: {options.path} cannot be written: {exc.strerror or exc}", markup=False)
        return EXIT_FAILED
    console.print(f"{len(questions):,} questions of {len(rated):,} answers with positive feedback")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.export_feedback",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, help="the file to write, in JSON lines")
    parser.add_argument("--organisation", help="id of the organisation; by default CLUSTER_ORGANISATION")
    parser.add_argument("--agent", help="only answers of the agent with this id")
    return parser


if __name__ == "__main__":
    sys.exit(main())
