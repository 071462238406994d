"""Check the result that the parsing process wrote for a document. ``parser`` calls this module.

read_result(file, data, "report.pdf", first=0)      # ParsedDocument
"""

import json
from typing import Any

from cluster.formats import recognise
from cluster.records import (
    LARGEST_NUMBER,
    MAX_FACT_LENGTH,
    NO_PAGE,
    Fact,
    Facts,
    Outcome,
    Page,
    ParsedDocument,
)
from cluster.text.storable_text import is_text
from data_jobs.stages.parsing.memory_file import MemoryFile
from data_jobs.stages.parsing.read_structure import read_structure
from data_jobs.stages.parsing.unread_parts import unread_sentence, with_unread


def read_result(result: MemoryFile, data: bytes, name: str, *, first: int) -> ParsedDocument:
    """Return what the child wrote. Check every field, because the child may have parsed hostile bytes. If the
    result is invalid, the outcome is ``corrupt``.
    """
    try:
        parsed = json.loads(result.read())
        structures = parsed["structure"] or [None] * len(parsed["pages"])
        pages = tuple(
            Page(number=number, text=_text(text), structure=read_structure(structure, length=len(text)))
            for number, (text, structure) in enumerate(
                zip(parsed["pages"], structures, strict=True), start=first + 1
            )
        )
        outcome, page_count = Outcome(parsed["outcome"]), int(parsed["page_count"])
        unread = _unread(parsed["unread"], page_count) if outcome.searchable else {}
        return ParsedDocument(
            outcome=outcome,
            detail=unread_sentence(unread, page_count) if outcome.searchable else _text(parsed["detail"]),
            pages=pages,
            media_type=_text(parsed["media_type"]),
            page_count=page_count,
            facts=with_unread(_facts(parsed["facts"]), unread),
            unread=unread,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        return without_pages(
            data, name, Outcome.CORRUPT, f"made its parser give an invalid result ({type(exc).__name__})"
        )


def _facts(written: Any) -> Facts:
    facts: dict[Fact, str | float | bool] = {}
    for name, value in written.items():
        if not isinstance(value, bool | int | float) or not abs(value) <= LARGEST_NUMBER:
            value = _short(value)
        facts[Fact(name)] = value
    return facts


def _unread(written: Any, page_count: int) -> dict[int, str]:
    unread = {int(number): _short(reason) for number, reason in written}
    if not all(NO_PAGE <= number <= page_count for number in unread):
        raise ValueError("a page beyond the last one")
    return unread


def _short(value: Any) -> str:
    if len(text := _text(value)) > MAX_FACT_LENGTH or not is_text(text):
        raise ValueError("a string that is too long or not text")
    return text


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def without_pages(data: bytes, name: str, outcome: Outcome, detail: str) -> ParsedDocument:
    """Return the result for a document without pages, with the reason."""
    return ParsedDocument(
        outcome=outcome, detail=detail, pages=(), media_type=recognise(data, name=name).media_type
    )
