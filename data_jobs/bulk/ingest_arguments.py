"""Define the options of the command ``python -m data_jobs.ingest``.

ingest_parser().parse_args(["docs", "--vector-store", "handbook", "--parser", "pdfium"])
"""

import argparse

from cluster.formats import PDF_PARSERS
from cluster.formats.recognition import OCR_MODES
from data_jobs.stages.chunkers.table import CHUNKERS


def ingest_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.ingest",
        description="Parse, chunk, embed and index every document at a location. "
        "A second run embeds only what has changed.",
        epilog="Exit codes: 0, all documents are searchable; 3, some are not, or a folder could not be "
        "listed (the summary says why); 2, wrong usage; 1, the run was cut short: run it again.",
    )
    parser.add_argument(
        "location",
        metavar="PATH_OR_URI",
        help="a file, a folder, or an s3://, gs:// or az:// URI (needs the matching fsspec extra)",
    )
    parser.add_argument(
        "--vector-store",
        required=True,
        metavar="NAME",
        help="name or id of the vector store to write to; it is made if it does not exist",
    )
    _add_store(parser)
    _add_reading(parser)
    _add_run(parser)
    return parser


def _add_store(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="name of the model of a new vector store, as in CLUSTER_MODELS (default: CLUSTER_MODEL); an "
        "existing store keeps its own",
    )
    parser.add_argument(
        "--chunker",
        choices=[entry.name for entry in CHUNKERS],
        help="how the documents of a new vector store are cut into chunks (default: content-defined); an "
        "existing store keeps its own",
    )
    parser.add_argument(
        "--index",
        metavar="NAME",
        help="name of the index of a new vector store, as in CLUSTER_INDEXES (default: "
        "CLUSTER_VECTOR_INDEX); an existing store keeps its own",
    )


def _add_reading(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--parser",
        choices=PDF_PARSERS,
        help="library that reads PDF (default: CLUSTER_PDF_PARSER, else pymupdf)",
    )
    parser.add_argument(
        "--ocr",
        choices=OCR_MODES,
        help="recognise the text of pictures with Tesseract: auto, pages without text; off; force, all pages "
        "(default: CLUSTER_OCR, else auto)",
    )
    parser.add_argument(
        "--ocr-languages",
        metavar="CODES",
        help="languages of the pictures' text, such as deu+eng (default: CLUSTER_OCR_LANGUAGES, else eng)",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--provider-batch",
        action="store_true",
        help="embed with the Batch API of the model's provider: at half the price, and within a day",
    )
    parser.add_argument(
        "--organisation",
        metavar="ID",
        help="organisation that owns the store (default: CLUSTER_ORGANISATION, else 'default')",
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read every document again, even if its size and modification time are unchanged",
    )
    parser.add_argument(
        "--json", action="store_true", help="also print the summary as one JSON object on standard output"
    )
