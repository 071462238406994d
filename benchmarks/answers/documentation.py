"""Measure the sources of answers with questions from documentation that others wrote.

    make up && python -m benchmarks.answers.documentation

The questions are the headings of the FAQs of Celery, Django and SQLAlchemy, from their source distributions
on PyPI (BSD and MIT licences), which pip downloads. The pages are given to an agent without these headings,
so that no question finds itself. A source is right if it has the beginning of the answer. The search alone,
the agent, and the agent with precomputed contexts are asked the same questions.

Exit code 1: hit@5 of the agent is below hit@5 of the search alone, or precomputed sources differ from live
ones.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from cluster.evaluation.golden import GoldenQuestion
from cluster.evaluation.measures import EvaluationMeasures, QuestionResult, measure
from cluster.local.addresses import api_url
from cluster.settings import Settings
from data_jobs.evaluation.asking import is_right

#: Requirement for pip, and the pattern of the pages in the distribution.
SOURCES = {
    "celery==5.5.3": "*/docs/faq.rst",
    "Django==5.2.7": "*/docs/faq/*.txt",
    "SQLAlchemy==2.0.43": "*/doc/build/faq/*.rst",
}
UNDERLINE = re.compile(r"([=\-~\"'^*+#.`])\1{3,}")
#: Number of characters of an answer by which its passage is recognised.
RECOGNISED = 60
AGENT = "benchmark-of-documentation"


def main() -> int:
    """Measure, print the table, and return the exit code."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.answers.documentation",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    settings = Settings()
    key = "none" if settings.api_key is None else settings.api_key.get_secret_value()
    with (
        tempfile.TemporaryDirectory() as folder,
        httpx.Client(
            base_url=api_url(settings), headers={"Authorization": f"Bearer {key}"}, timeout=120
        ) as http,
    ):
        pages, questions = read_documentation(Path(folder))
        store = new_store(http, pages)
        try:
            return compare(http, store, questions)
        finally:
            http.delete(f"/v1/vector_stores/{store}").raise_for_status()


def read_documentation(folder: Path) -> tuple[dict[str, str], list[GoldenQuestion]]:
    """Download the distributions, and return the pages without the questions, and the questions."""
    pages: dict[str, str] = {}
    questions: list[GoldenQuestion] = []
    for requirement in SOURCES:
        command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *command, requirement], check=True)
    for archive in folder.glob("*.tar.gz"):
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    for requirement, pattern in SOURCES.items():
        name = requirement.partition("=")[0]
        for path in sorted(folder.glob(pattern)):
            text = path.read_text(encoding="utf-8")
            kept = []
            for heading, body in sections(text):
                answer = first_words(body)
                if heading.endswith("?") and answer is not None:
                    questions.append(GoldenQuestion(agent=AGENT, question=heading, sentence=answer))
                    kept.append(body)
                else:
                    kept.append(f"{heading}\n\n{body}")
            pages[f"{name}-{path.stem}.txt"] = "\n\n".join(kept)
    return pages, questions


def sections(text: str) -> Iterator[tuple[str, str]]:
    """Yield the heading and the body of each section of a page in reStructuredText."""
    lines = text.split("\n")
    heads = [
        number
        for number in range(len(lines) - 1)
        if lines[number].strip()
        and not lines[number].startswith((" ", ".."))
        and UNDERLINE.fullmatch(lines[number + 1].rstrip())
        and len(lines[number + 1].rstrip()) >= len(lines[number].rstrip())
    ]
    for head, following in zip(heads, [*heads[1:], len(lines)], strict=True):
        yield lines[head].strip(), "\n".join(lines[head + 2 : following]).strip()


def first_words(body: str) -> str | None:
    """Return the beginning of the first paragraph that is prose; None if the body has none."""
    for paragraph in re.split(r"\n\s*\n", body):
        text = paragraph.strip().removeprefix("**Answer:**").strip()
        if len(text) >= RECOGNISED and not text.startswith(("..", ":", ">>>", "*", "-", "#")):
            return text[:RECOGNISED].rpartition(" ")[0]
    return None


def new_store(http: httpx.Client, pages: dict[str, str]) -> str:
    """Create a vector store with the pages, and return its id."""
    store = (
        http.post("/v1/vector_stores", json={"name": f"{AGENT}-{time.time_ns()}"}).raise_for_status().json()
    )
    ids = [
        http.post("/v1/files", files={"file": (page, text.encode())}, data={"purpose": "assistants"})
        .raise_for_status()
        .json()["id"]
        for page, text in pages.items()
    ]
    path = f"/v1/vector_stores/{store['id']}/file_batches"
    batch = http.post(path, json={"file_ids": ids}).raise_for_status().json()
    while batch["status"] == "in_progress":
        time.sleep(0.5)
        batch = http.get(f"{path}/{batch['id']}").raise_for_status().json()
    assert batch["file_counts"]["completed"] == len(ids), batch
    return str(store["id"])


def compare(http: httpx.Client, store: str, questions: list[GoldenQuestion]) -> int:
    """Ask the search, the agent and the agent with precomputed contexts. Return the exit code."""
    definition = {"external_id": AGENT, "knowledge": [{"vector_store_id": store}], "retrieval": {"k": 10}}
    agent = http.post("/v1/agents", json=definition).raise_for_status().json()["id"]
    searched = [search(http, store, question) for question in questions]
    live = [ask(http, question) for question in questions]
    job = (
        http.post(
            "/v1/jobs",
            json={
                "kind": "precompute_contexts",
                "input": {"agent_id": agent, "questions": [one.question for one in questions]},
            },
        )
        .raise_for_status()
        .json()
    )
    while job["state"] not in ("succeeded", "failed", "cancelled"):
        time.sleep(0.5)
        job = http.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    assert job["state"] == "succeeded", job
    time.sleep(61)  # replicas read new contexts once a minute
    prepared = [ask(http, question) for question in questions]
    rows = {
        "search alone": measure([result for result, _ in searched]),
        "agent": measure([result for result, _ in live]),
        "agent, precomputed": measure([result for result, _ in prepared]),
    }
    print(f"{len(questions)} questions\n\n| | hit@1 | hit@5 | MRR | p50 ms |\n|---|---|---|---|---|")
    for name, row in rows.items():
        print(_row(name, row))
    same = sum(one[1] == other[1] for one, other in zip(live, prepared, strict=True))
    print(f"\n{same} of {len(questions)} precomputed answers have the sources of the live answer")
    http.delete(f"/v1/agents/{agent}").raise_for_status()
    worse = (rows["agent"].hit_at_5 or 0) < (rows["search alone"].hit_at_5 or 0)
    return int(worse or same < len(questions))


def search(http: httpx.Client, store: str, question: GoldenQuestion) -> tuple[QuestionResult, list[str]]:
    """Return the result of the search, and the ids of the found passages."""
    began = time.monotonic()
    body = {"query": question.question, "max_num_results": 10}
    found = http.post(f"/v1/vector_stores/{store}/search", json=body).raise_for_status().json()["data"]
    sources = [{**one, "text": one["content"][0]["text"]} for one in found]
    return _result(question, sources, time.monotonic() - began), [one["chunk_id"] for one in found]


def ask(http: httpx.Client, question: GoldenQuestion) -> tuple[QuestionResult, list[str]]:
    """Return the result of the agent, and the ids of the passages."""
    began = time.monotonic()
    body = {
        "model": f"agent:{AGENT}",
        "messages": [{"role": "user", "content": question.question}],
        "store": False,
    }
    answer = http.post("/v1/chat/completions", json=body).raise_for_status().json()
    sources = answer["sources"]
    return _result(question, sources, time.monotonic() - began), [one["chunk_id"] for one in sources]


def _result(question: GoldenQuestion, sources: list[dict[str, Any]], seconds: float) -> QuestionResult:
    right = (number for number, source in enumerate(sources, start=1) if is_right(question, source))
    return QuestionResult(question=question, rank=next(right, None), found=bool(sources), seconds=seconds)


def _row(name: str, row: EvaluationMeasures) -> str:
    return (
        f"| {name} | {row.hit_at_1:.3f} | {row.hit_at_5:.3f} | {row.mrr:.3f} "
        f"| {1_000 * (row.seconds_p50 or 0):.0f} |"
    )


if __name__ == "__main__":
    sys.exit(main())
