"""Write an answer without a chat model: quote the best passages of the sources, with numbers and a label.

``answer`` calls this module if the agent has no chat model.

    for part in passages(sources, "Where do swifts sleep?"):
        send(part.text)
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cluster.answers.contract import Source
from cluster.retrieval.snippets import QueryWords, snippet

#: Maximum number of passages that an answer quotes.
MAX_PASSAGES = 3
#: Maximum number of characters of a passage.
PASSAGE_CHARACTERS = 480
#: First line of the answer, which tells the reader that the passages are quoted.
LABEL = "These passages of the documents fit the question best (quoted, because no chat model is set):"


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A part of the answer's text."""

    text: str
    #: The source that the part quotes, and the position of its citation in the part; None for the label.
    cited: tuple[Source, int] | None = None


def distinct_sources(sources: Sequence[Source]) -> Sequence[Source]:
    """Return the sources, each text once, with new numbers from 1 in the order of the old numbers."""
    distinct = {source.text: source for source in reversed(sources)}
    ordered = sorted(distinct.values(), key=lambda source: source.number)
    return [replace(source, number=number) for number, source in enumerate(ordered, start=1)]


def passages(sources: Sequence[Source], question: str) -> Iterator[Passage]:
    """Yield the label, and then the passages of the first ``MAX_PASSAGES`` sources."""
    yield Passage(text=LABEL)
    words = QueryWords(question)
    for source in sources[:MAX_PASSAGES]:
        quote = " ".join(snippet(source.text, words, length=PASSAGE_CHARACTERS).split())
        place = source.place.shown(source.page)
        opening = f'\n\n"{quote}" '
        text = f"{opening}[{source.number}] {source.filename or source.file}{place and f', {place}'}"
        yield Passage(text=text, cited=(source, len(opening)))
