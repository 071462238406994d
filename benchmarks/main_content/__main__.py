"""Compare the main content of web pages with references, beside resiliparse and trafilatura.

    make bench-main-content

The pages are three documentation sets of the tests (lxml, Mako and SQLite), and the pages of SQLAlchemy
from its source distribution on PyPI (MIT), which pip downloads. ``reference.py`` has a selector of the main
content for each site. Each party reads the same pages in this process. A heading counts as kept if the same
words are a heading of the result. F1 is the harmonic mean of the precision and the recall of words, on
average over the pages.

Exit code 1: on one of the sites, ours keeps fewer than 97 % of the headings, or its F1 is below 0.93.
"""

import argparse
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.main_content.reference import (
    SITES,
    PageReference,
    headings_of_html,
    normal,
    reference_of,
    word_f1,
    words_of,
)
from data_jobs.stages.formats import html
from data_jobs.stages.formats.web.read_page import read_page
from data_jobs.stages.formats.web.stored_page import block_digests, repeated_blocks, stored_page
from tests.simulators.site.documentation import SETS, documentation

SQLALCHEMY = "SQLAlchemy==2.0.43"
#: Pages of SQLAlchemy that are read.
PAGES = "*/doc/[cft]*/*.html"
MIN_HEADINGS, MIN_F1 = 0.97, 0.93
MARKDOWN_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
MARKDOWN_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)

#: The pages of one site by path.
SitePages = Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class PartyResult:
    """The main content of one page, as one party reads it."""

    words: Counter[str]
    headings: Counter[str]


def main() -> int:
    """Measure, print the table, and return the exit code."""
    argparse.ArgumentParser(
        prog="python -m benchmarks.main_content",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    ).parse_args()
    parties = {"ours": ours, "resiliparse": resiliparse, "trafilatura": trafilatura}
    table = Table("site", "pages", "party", "headings kept", "word F1", "ms a page")
    good = True
    for site, pages in sites().items():
        references = {path: reference_of(data, SITES[site]) for path, data in pages.items()}
        known = {path: reference for path, reference in references.items() if reference is not None}
        for name, party in parties.items():
            began = time.perf_counter()
            results = party(pages)
            per_page_ms = 1_000 * (time.perf_counter() - began) / len(pages)
            kept, headings, f1 = score(results, known)
            if name == "ours":
                good = good and kept >= MIN_HEADINGS * headings and f1 >= MIN_F1
            row = f"{len(known)}", name, f"{kept:,} of {headings:,}", f"{f1:.3f}", f"{per_page_ms:.0f}"
            table.add_row(site, *row)
    Console(width=110).print(table)
    return 0 if good else 1


def sites() -> dict[str, SitePages]:
    """Return the pages of each site."""
    found: dict[str, SitePages] = {
        name: {path: data for path, data in documentation().items() if path.startswith(f"/{name}/")}
        for name in SETS
    }
    with tempfile.TemporaryDirectory() as folder:
        command = ["download", "--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder, SQLALCHEMY]
        subprocess.run([sys.executable, "-m", "pip", *command], check=True)
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            pages = {}
            for member in tar.getmembers():
                file = tar.extractfile(member) if fnmatch(member.name, PAGES) else None
                if file is not None:
                    pages["/" + member.name] = file.read()
        found["sqlalchemy"] = pages
    return found


def ours(pages: SitePages) -> dict[str, PartyResult]:
    """Read the pages as crawls do, without the blocks that the site repeats."""
    read = {path: read_page(data, url=f"https://docs.test{path}") for path, data in pages.items()}
    repeated = repeated_blocks(block_digests(page) for page in read.values())
    results = {}
    for path, page in read.items():
        stored = stored_page(page, without=repeated).decode()
        results[path] = PartyResult(
            words=words_of(html.read_page(stored).text), headings=headings_of_html(stored)
        )
    return results


def resiliparse(pages: SitePages) -> dict[str, PartyResult]:
    """Read the pages with resiliparse's main content as minimal HTML."""
    from resiliparse.extract.html2text import extract_plain_text

    results = {}
    for path, data in pages.items():
        minimal = extract_plain_text(
            data.decode("utf-8", "replace"), preserve_formatting="minimal_html", main_content=True
        )
        text = html.read_page(minimal).text if minimal else ""
        results[path] = PartyResult(words=words_of(text), headings=headings_of_html(minimal))
    return results


def trafilatura(pages: SitePages) -> dict[str, PartyResult]:
    """Read the pages with trafilatura as Markdown, with tables."""
    from trafilatura import extract

    results = {}
    for path, data in pages.items():
        markdown = (
            extract(data.decode("utf-8", "replace"), output_format="markdown", include_tables=True) or ""
        )
        plain = MARKDOWN_LINK.sub(r"\1", markdown)
        headings = Counter(normal(heading) for heading in MARKDOWN_HEADING.findall(plain))
        results[path] = PartyResult(words=words_of(plain), headings=headings)
    return results


def score(
    results: Mapping[str, PartyResult], references: Mapping[str, PageReference]
) -> tuple[int, int, float]:
    """Return the numbers of headings kept and of all headings, and the average F1."""
    kept = sum((results[path].headings & one.headings).total() for path, one in references.items())
    headings = sum(one.headings.total() for one in references.values())
    f1 = [word_f1(results[path].words, one.words) for path, one in references.items()]
    return kept, headings, sum(f1) / len(f1)


if __name__ == "__main__":
    sys.exit(main())
