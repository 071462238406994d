"""Markdown to text: rendered, then read as HTML, so that what is embedded is what a reader would see."""

from markdown_it import MarkdownIt

from data_jobs.stages.formats.html import to_text
from data_jobs.stages.formats.reading import Reading
from data_jobs.stages.formats.text import clean, decode


def parse(data: bytes) -> Reading:
    """One page."""
    markup = MarkdownIt("commonmark").enable("table").render(clean(decode(data)))
    return Reading(pages=[to_text(markup)])
