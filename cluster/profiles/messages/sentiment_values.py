"""Computes the values of profiles about sentiment and language, such as the mean sentiment of messages.

A conversation or a customer with fewer than ``MIN_MESSAGES`` English messages has no mean, because the
sentiment of one message is often wrong. The job that enriches profiles calls ``sentiment_values``.

    values = sentiment_values(connection, selection, ["cust_..."], key)["cust_..."]
    values["sentiment"]              # ProfileValue(value=0.41, n=9, evidence=["msg_..."])
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from psycopg import Connection
from psycopg.rows import dict_row

from cluster.profiles.messages.analyses import SQL, AnalysisKey
from cluster.profiles.profiles import MAX_EVIDENCE, ProfileValue
from cluster.profiles.selection import Selection

#: Minimum number of English messages from which a mean is computed.
MIN_MESSAGES = 3
#: Maximum number of conversations that a profile names. The latest conversations are named.
MAX_CONVERSATIONS = 20
#: ``PRIOR_VARIANCE`` is the assumed variance of the scores of a customer's messages around their mean, before
#: any message is known. It is about the variance of the linear head's error on the public data sets. The
#: assumption counts as much as ``PRIOR_MESSAGES`` messages, so that the interval of three equal scores does
#: not have the length 0.
PRIOR_VARIANCE, PRIOR_MESSAGES = 0.08, 4
#: The quantile of the normal distribution for an interval of 95%.
Z = 1.959963984540054
#: A mean is neutral if its interval contains a value between minus this number and plus this number.
NEUTRAL = 0.05
UNSUPPORTED, TOO_FEW = "unsupported_language", "too_few_messages"

_Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tone:
    """The sentiment of several messages."""

    #: Number of English messages.
    n: int
    #: Number of messages in other languages.
    others: int
    #: Mean of the English messages; None with fewer than ``MIN_MESSAGES``.
    mean: float | None
    #: Lower bound of the mean's confidence interval of 95%; None without a mean.
    low: float | None
    #: Upper bound of this interval; None without a mean.
    high: float | None

    @property
    def label(self) -> str:
        """``positive`` or ``negative`` if the interval has no neutral value, otherwise ``neutral``. Without a
        mean: ``unsupported_language`` if most messages are not English, otherwise ``too_few_messages``.
        """
        if self.mean is None or self.low is None or self.high is None:
            return UNSUPPORTED if self.others > self.n else TOO_FEW
        if self.low > NEUTRAL:
            return "positive"
        return "negative" if self.high < -NEUTRAL else "neutral"


def sentiment_values(
    connection: Connection[Any], selection: Selection, customers: Sequence[str], key: AnalysisKey
) -> dict[str, dict[str, ProfileValue]]:
    """Return, for each customer, the values by name. A customer without messages also gets every value, with
    ``n`` 0.
    """
    values = {
        "organisation": selection.organisation,
        "customers": list(customers),
        "as_of": selection.as_of,
        "version": key.version,
        "evidence": MAX_EVIDENCE,
    }
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(SQL["tones"], values).fetchall()
    found = {customer: list(group) for customer, group in groupby(rows, key=lambda row: row["customer"])}
    return {customer: _values(found.get(customer, [])) for customer in customers}


def tone(n: int, mean: float | None, variance: float, *, others: int = 0) -> Tone:
    """Return the sentiment of n English messages with the confidence interval of 95% of the mean.

    The variance of the messages is combined with ``PRIOR_VARIANCE``. The quantile is the quantile of
    Student's t distribution, computed with the expansion 26.7.5 of Abramowitz and Stegun.

    Args:
        variance: sample variance of the scores.
        others: number of messages in other languages.
    """
    if n < MIN_MESSAGES or mean is None:
        return Tone(n=n, others=others, mean=None, low=None, high=None)
    freedom = PRIOR_MESSAGES + n - 1
    pooled = (PRIOR_MESSAGES * PRIOR_VARIANCE + (n - 1) * variance) / freedom
    t = Z + (Z**3 + Z) / (4 * freedom) + (5 * Z**5 + 16 * Z**3 + 3 * Z) / (96 * freedom**2)
    t += (3 * Z**7 + 19 * Z**5 + 17 * Z**3 - 15 * Z) / (384 * freedom**3)
    half = t * math.sqrt(pooled / n)
    low, high = max(-1.0, mean - half), min(1.0, mean + half)
    return Tone(n=n, others=others, mean=round(mean, 4), low=round(low, 4), high=round(high, 4))


def _values(rows: Sequence[_Row]) -> dict[str, ProfileValue]:
    whole = _together(rows)
    ids = [id for row in rows for id in row["ids"] or []][:MAX_EVIDENCE]
    languages: Counter[str] = Counter()
    for row in rows:
        languages.update(row["languages"])
    messages = sum(row["messages"] for row in rows)
    conversations = [_conversation(row) for row in rows[:MAX_CONVERSATIONS]]
    interval = None if whole.mean is None else [whole.low, whole.high]
    return {
        "sentiment": ProfileValue(value=whole.mean, n=whole.n, evidence=ids),
        "sentiment_interval": ProfileValue(value=interval, n=whole.n, evidence=ids),
        "sentiment_label": ProfileValue(value=whole.label, n=whole.n, evidence=ids),
        "sentiment_of_conversations": ProfileValue(
            value=conversations, n=len(rows), evidence=[row["conversation"] for row in rows[:MAX_EVIDENCE]]
        ),
        "language": ProfileValue(value=_most_frequent(languages), n=messages),
        "languages": ProfileValue(value=dict(languages.most_common()), n=messages),
    }


def _together(rows: Sequence[_Row]) -> Tone:
    """Return the sentiment of all messages in the rows, each of which has the figures of one conversation."""
    counted = [row for row in rows if row["n"]]
    n, messages = sum(row["n"] for row in counted), sum(row["messages"] for row in rows)
    if not n:
        return tone(0, None, 0.0, others=messages)
    mean = sum(row["n"] * row["mean"] for row in counted) / n
    squares = sum((row["n"] - 1) * row["variance"] + row["n"] * (row["mean"] - mean) ** 2 for row in counted)
    return tone(n, mean, squares / max(n - 1, 1), others=messages - n)


def _conversation(row: _Row) -> dict[str, Any]:
    found = tone(row["n"], row["mean"], row["variance"], others=row["messages"] - row["n"])
    return {
        "conversation": row["conversation"],
        "sentiment": found.mean,
        "low": found.low,
        "high": found.high,
        "label": found.label,
        "n": found.n,
    }


def _most_frequent(languages: Counter[str]) -> str | None:
    return max(sorted(languages), key=languages.__getitem__) if languages else None
