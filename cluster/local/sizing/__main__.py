"""Compute how many cores, GPUs, workers and gigabytes a load needs. See ``docs/sizing.md``.

python -m cluster.local.sizing --documents-an-hour 2000 --documents 500000 --searches-a-second 5
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import fields, replace

from rich.console import Console
from rich.table import Table

from cluster.local.sizing.figures import Figures
from cluster.local.sizing.size import ClusterLoad, ClusterSize, size_of

FIGURES = {field.name: field for field in fields(Figures)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    load = ClusterLoad(
        documents_per_hour=options.documents_an_hour,
        documents=options.documents,
        pages_per_document=options.pages,
        searches_per_s=options.searches_a_second,
        embeddings_per_s=options.embeddings_a_second,
        dimensions=options.dimensions,
        on_gpus=options.gpus,
    )
    figures = replace(Figures(), **dict(options.figure))
    Console(width=100).print(
        _table(size_of(load, figures), options.cores_of_a_worker, options.price_of_a_worker)
    )
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.local.sizing",
        description="Compute the cores, GPUs and gigabytes that a load needs, from measured figures.",
    )
    for name, default, help in (
        ("--documents-an-hour", 0.0, "new or changed documents in an hour"),
        ("--documents", 0.0, "documents in all vector stores"),
        ("--pages", 8.0, "pages of a document"),
        ("--searches-a-second", 0.0, "searches in a second"),
        ("--embeddings-a-second", 0.0, "requests for the embedding of one sentence in a second"),
        ("--price-of-a-worker", 0.0, "dollars a month for one worker"),
    ):
        parser.add_argument(name, type=_not_negative, default=default, help=f"{help} (default: %(default)g)")
    parser.add_argument("--dimensions", type=_count, default=384, help="numbers of a vector (default: 384)")
    parser.add_argument("--cores-of-a-worker", type=_count, default=8, help="cores of a worker (default: 8)")
    parser.add_argument("--gpus", action="store_true", help="the engines run on GPUs")
    parser.add_argument(
        "--figure",
        action="append",
        type=_figure,
        default=[],
        metavar="NAME=NUMBER",
        help=f"a figure that you measured yourself; the names are {', '.join(FIGURES)}",
    )
    return parser


def _not_negative(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a number from 0 on")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a whole number from 1 on")
    return number


def _figure(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    if name not in FIGURES:
        raise argparse.ArgumentTypeError(f"no figure is named {name!r}; the names are {', '.join(FIGURES)}")
    try:
        value = float(number)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{name} needs a number above 0, as in {name}=2.5")
    return name, value


def _table(size: ClusterSize, cores_of_a_worker: int, price: float) -> Table:
    workers = size.workers(cores_of_a_worker)
    table = Table(title="Size of the cluster", title_justify="left")
    table.add_column("")
    table.add_column("", justify="right")
    rows = [
        ("chunks written in a second", f"{size.chunks_per_s:,.1f}"),
        ("cores for parsing, chunks and keywords", f"{size.stage_cores:,.1f}"),
        ("cores for the engines of documents", f"{size.engine_cores:,.1f}"),
        ("cores for requests", f"{size.request_cores:,.1f}"),
        ("GPUs", f"{size.gpus}"),
        (f"workers with {cores_of_a_worker} cores", f"{workers}"),
        ("cores for Postgres", f"{size.postgres_cores:,.1f}"),
        ("chunks stored", f"{size.chunks:,.0f}"),
        ("disk for Postgres, GiB", f"{size.disk_gib:,.1f}"),
        ("memory of Postgres for the vector index, GiB", f"{size.index_gib:,.1f}"),
    ]
    if price:
        rows.append(("dollars a month for the workers", f"{workers * price:,.0f}"))
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    sys.exit(main())
