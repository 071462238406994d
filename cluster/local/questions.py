"""Asks a vector store questions for the demo, and prepares the answers for display.

for answer in ask(settings, "handbook", HANDBOOK_QUESTIONS[0]):
    print(answer.filename, answer.page)
"""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import psycopg

from cluster.database import database_url
from cluster.database.queries import queries
from cluster.errors import Unavailable
from cluster.local.addresses import reachable, request
from cluster.records import digest
from cluster.settings import Settings

SQL = queries("cluster.local", "questions.sql")
HANDBOOK_QUESTIONS = (
    "How do I run two clusters on one machine?",
    "What happens when Postgres is killed in the middle of a run?",
    "How do I back up the data?",
)
ANSWERS, EXCERPT_CHARACTERS = 2, 360
#: Maximum time of a search. It is long, because the first search in a replica may wait for database
#: connections.
SEARCH_TIMEOUT_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """Holds one result of a search."""

    filename: str
    #: Page number, from 1.
    page: int
    #: Score of the fused rankings, in [0, 1]. A score of 1 means that the chunk is first in each ranking.
    score: float
    #: Beginning of the chunk, on one line.
    excerpt: str


def ask(settings: Settings, store: str, question: str) -> list[SearchAnswer]:
    """Search the store through the HTTP endpoint, and return the best results.

    Raises:
        Unavailable: the endpoint did not answer with status 200.
    """
    status, text = request(
        "POST",
        reachable(settings.api_host),
        settings.api_port,
        f"/v1/vector_stores/{store}/search",
        body={"query": question, "max_num_results": ANSWERS},
        key=settings.api_key,
        timeout_s=SEARCH_TIMEOUT_S,
    )
    if status != HTTPStatus.OK:
        raise Unavailable(
            f"the search of vector store {store} failed (HTTP status {status or 'none'}): {text[:500]}"
        )
    return [
        SearchAnswer(
            filename=hit["filename"],
            page=hit["attributes"]["page"],
            score=hit["score"],
            excerpt=_excerpt(hit["content"][0]["text"]),
        )
        for hit in json.loads(text)["data"]
    ]


def questions_about(settings: Settings, store: str) -> list[str]:
    """Return up to three questions made from the keywords of the store's documents."""
    with psycopg.connect(database_url(settings)) as connection:
        rows = connection.execute(
            SQL["keywords"], {"organisation": settings.organisation, "store": store}
        ).fetchall()
    return [f"What do the documents say about {keyword}?" for (keyword,) in rows]


def store_name(folder: Path) -> str:
    """Return a name for the store of a folder: the folder's own name, reduced to a to z, digits and hyphens.

    Such a name needs no escaping in a shell or a URL. If nothing is left of the folder's name, the
    store's name contains a digest of the folder's name, so that two such folders do not share a store.
    """
    name = folder.resolve().name.lower()
    return re.sub(r"[^a-z0-9]+", "-", name).strip("-")[:40] or f"documents-{digest(name, size=4)}"


def _excerpt(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= EXCERPT_CHARACTERS else line[:EXCERPT_CHARACTERS].rsplit(" ", 1)[0] + " …"
