"""Check what the parsing process read from a fetched web page. ``parser`` calls this module."""

import json

from cluster.records import Outcome
from data_jobs.stages.formats.web.web_page import WebPage, web_page_of
from data_jobs.stages.parsing.memory_file import MemoryFile


def read_web_page_result(result: MemoryFile) -> WebPage:
    """Return the page. Every value is checked, because the child may have parsed hostile bytes. If a value is
    invalid, the outcome is ``corrupt``.
    """
    try:
        return web_page_of(json.loads(result.read()))
    except (ValueError, TypeError, KeyError, AttributeError) as exc:
        detail = f"made its parser give an invalid result ({type(exc).__name__})"
        return WebPage(outcome=Outcome.CORRUPT, detail=detail)
