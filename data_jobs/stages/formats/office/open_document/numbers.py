"""Count the items of lists and the numbered headings of an OpenDocument text.

counter = Counter()
counter.next_label(level_of, 0)      # "1."
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from data_jobs.stages.formats.office.list_labels import BULLET, in_letters, in_roman
from data_jobs.stages.formats.office.open_document.document import LEVELS, ListLevel


@dataclass(kw_only=True, slots=True)
class Counter:
    """Counts the items of one list."""

    _reached: list[int | None] = field(default_factory=lambda: [None] * LEVELS)

    def next_label(
        self, level_of: Callable[[int], ListLevel | None], level: int, *, start: int | None = None
    ) -> str:
        """Count one item, and return its label.

        Args:
            level_of: returns how a level is numbered; levels count from 0.
            level: level of the item.
            start: the number of this item, if the item names one.
        """
        own = level_of(level) if level < LEVELS else None
        if own is None or not own.format:
            return BULLET
        before = self._reached[level]
        self._reached[level] = start if start is not None else own.start if before is None else before + 1
        self._reached[level + 1 :] = [None] * (LEVELS - level - 1)
        numbers = []
        for shown in range(max(0, level - own.shown_levels + 1), level + 1):
            other = level_of(shown)
            if other is not None and other.format:
                value = self._reached[shown]
                numbers.append(_shown(other.start if value is None else value, other.format))
        return f"{own.prefix}{'.'.join(numbers)}{own.suffix}".strip()


def _shown(count: int, format: str) -> str:
    if format in {"i", "I"}:
        return in_roman(count) if format == "I" else in_roman(count).lower()
    if format in {"a", "A"}:
        return in_letters(count) if format == "A" else in_letters(count).lower()
    return str(count)
