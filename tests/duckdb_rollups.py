"""Computes the roll-ups from the raw logs with DuckDB, without code or SQL of ``cluster.analytics``.

expected = DuckdbRollups(events=path, usage=usage, prices=prices, zone="Asia/Kathmandu", settled=now)
expected.platform("day")[day, "agent-3"]["messages"]
"""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

#: The window of a time, for each grain. An hour is computed from seconds, without a function for dates.
WINDOW = {
    "hour": "to_timestamp(floor(epoch({time}) / 3600) * 3600)",
    "day": "CAST({time} AT TIME ZONE getvariable('zone') AS DATE)",
}


class RawUsage(NamedTuple):
    """One line of the log of usage. A line that is sent twice has the same id."""

    id: str
    at: datetime
    kind: str
    model: str | None
    agent: str | None
    source: str
    quantity: int
    cost: str | None


class RawPrice(NamedTuple):
    """A price with its period."""

    kind: str
    model: str | None
    price: str
    valid_from: datetime
    valid_to: datetime | None


#: Everything about one event, with one row for each different event.
EVENTS = """
CREATE TABLE event AS
SELECT DISTINCT ON (source, id) source, id, type, CAST(time AS TIMESTAMPTZ) AS time, subject AS customer,
    data ->> 'agent_id' AS agent, data ->> 'conversation_id' AS conversation, data ->> 'role' AS role,
    CAST(data ->> 'latency_ms' AS BIGINT) AS latency,
    CAST(data ->> 'time_to_first_token_ms' AS BIGINT) AS first_token,
    CAST(coalesce(data ->> 'input_tokens', '0') AS HUGEINT) AS input_tokens,
    CAST(coalesce(data ->> 'output_tokens', '0') AS HUGEINT) AS output_tokens,
    CAST(coalesce(data ->> 'cost', '0') AS DECIMAL(38, 12)) AS cost, data ->> 'error_class' AS error_class,
    CAST(data ->> 'retrieval_hit' AS BOOLEAN) AS hit, CAST(data ->> 'resolved' AS BOOLEAN) AS resolved,
    CAST(data ->> 'rating' AS INTEGER) AS rating
FROM read_json(getvariable('path'), format = 'newline_delimited', columns = {
    id: 'VARCHAR', source: 'VARCHAR', type: 'VARCHAR', time: 'VARCHAR', subject: 'VARCHAR', data: 'JSON'})
"""
CONVERSATIONS = """
CREATE TABLE conversation AS
WITH answered AS (
    SELECT conversation, max(time) AS answered_at FROM event
    WHERE type = 'message.created' AND role = 'assistant' AND error_class IS NULL GROUP BY conversation
), asked AS (
    SELECT conversation, count(*) AS turns,
        count(*) FILTER (WHERE answered_at IS NULL OR time > answered_at) AS unanswered
    FROM event LEFT JOIN answered USING (conversation)
    WHERE type = 'message.created' AND role = 'user' GROUP BY conversation
)
SELECT conversation, any_value(agent) AS agent, min(time) AS first_time, max(time) AS last_time,
    bool_or(type = 'conversation.ended') AS ended, bool_or(type = 'conversation.handed_over') AS handed_over,
    arg_max(resolved, time) FILTER (WHERE type = 'conversation.ended') AS resolved,
    arg_max(rating, time) FILTER (WHERE type = 'conversation.rated') AS rating,
    coalesce(any_value(turns), 0) AS turns, coalesce(any_value(unanswered), 0) AS unanswered
FROM event LEFT JOIN asked USING (conversation)
WHERE conversation IS NOT NULL
GROUP BY conversation
"""
#: Counts of events. A fact counts for its agent and, with the agent '', for the organisation.
OF_EVENTS = """
SELECT {window} AS bucket, unnest([agent, '']) AS who, *
FROM event
"""
MEASURES_OF_EVENTS = """
SELECT bucket, who, count(*) AS events, count(DISTINCT customer) AS customers,
    count(*) FILTER (WHERE {message}) AS messages, count(*) FILTER (WHERE {answer}) AS answers,
    count(DISTINCT conversation) FILTER (WHERE {message}) AS active_conversations,
    coalesce(sum(input_tokens) FILTER (WHERE {message}), 0) AS input_tokens,
    coalesce(sum(output_tokens) FILTER (WHERE {message}), 0) AS output_tokens,
    coalesce(sum(cost) FILTER (WHERE {message}), 0) AS cost,
    count(*) FILTER (WHERE {request}) AS requests,
    coalesce(sum(input_tokens) FILTER (WHERE {request}), 0) AS request_input_tokens,
    coalesce(sum(output_tokens) FILTER (WHERE {request}), 0) AS request_output_tokens,
    coalesce(sum(cost) FILTER (WHERE {request}), 0) AS request_cost,
    count(error_class) AS errors, count(hit) AS retrievals, count(*) FILTER (WHERE hit) AS retrieval_hits,
    list_sort(list(latency) FILTER (WHERE {answer})) AS latency,
    list_sort(list(first_token) FILTER (WHERE {answer})) AS first_token,
    list_sort(list(latency) FILTER (WHERE {request})) AS request_latency
FROM ({facts}) WHERE who IS NOT NULL GROUP BY bucket, who
"""
MEASURES_OF_CONVERSATIONS = """
SELECT bucket, who, count(*) AS conversations, count(*) FILTER (WHERE ended) AS ended,
    count(*) FILTER (WHERE handed_over) AS handed_over, sum(turns) AS turns, sum(unanswered) AS unanswered,
    sum(duration) AS duration_ms, list_sort(list(duration)) AS duration,
    count(*) FILTER (WHERE resolved) AS resolved, count(*) FILTER (WHERE NOT resolved) AS unresolved,
    count(*) FILTER (WHERE resolved IS NULL AND NOT handed_over AND turns > 0 AND unanswered = 0
        AND last_time <= getvariable('settled') - INTERVAL 24 HOURS) AS assumed_resolved,
    count(rating) AS ratings, count(*) FILTER (WHERE rating IN (4, 5)) AS satisfied,
    coalesce(sum(rating), 0) AS rating_sum
FROM (
    SELECT {window} AS bucket, unnest([agent, '']) AS who,
        epoch_ms(last_time) - epoch_ms(first_time) AS duration, *
    FROM conversation
) WHERE who IS NOT NULL GROUP BY bucket, who
"""
ERROR_CLASSES = """
SELECT bucket, who, error_class, count(*) FROM ({facts})
WHERE who IS NOT NULL AND error_class IS NOT NULL GROUP BY bucket, who, error_class
"""
USAGE = """
SELECT bucket, agent, model, source, kind, sum(quantity), sum(coalesce(quantity * price, cost)), count(*)
FROM (
    SELECT {window} AS bucket, usage.*, (
        SELECT arg_min(price, model IS NULL) FROM price
        WHERE price.kind = usage.kind AND (price.model IS NULL OR price.model = usage.model)
            AND price.valid_from <= usage."at" AND (price.valid_to IS NULL OR usage."at" < price.valid_to)
    ) AS price
    FROM (SELECT DISTINCT ON (id) * FROM raw_usage) AS usage
) GROUP BY bucket, agent, model, source, kind
"""
KINDS = {
    "{message}": "type = 'message.created'",
    "{answer}": "type = 'message.created' AND role = 'assistant'",
    "{request}": "type = 'request.completed'",
}
#: The percentiles that are read from a sorted list of values.
PERCENTILES = {"latency": (50, 95), "first_token": (50, 95), "request_latency": (50, 95), "duration": (50,)}


class DuckdbRollups:
    """The roll-ups of one organisation.

    Args:
        events: the log of events as JSON lines, in the order of sending.
        usage: the log of usage.
        prices: the prices of the organisation.
        zone: its time zone.
        settled: conversations that are quiet for 24 hours at this time may count as resolved.
    """

    def __init__(
        self,
        *,
        events: Path,
        usage: Iterable[RawUsage],
        prices: Iterable[RawPrice],
        zone: str,
        settled: datetime,
    ) -> None:
        self._database = duckdb.connect()
        self._database.execute("SET TimeZone = 'UTC'")
        for name, value in (("path", str(events)), ("zone", zone), ("settled", settled.astimezone(UTC))):
            self._database.execute(f"SET VARIABLE {name} = ?", [value])
        self._database.execute(EVENTS)
        self._database.execute(CONVERSATIONS)
        time = pa.timestamp("us", tz="UTC")
        usage_types = [pa.string(), time, *[pa.string()] * 4, pa.int64(), pa.string()]
        price_types = [*[pa.string()] * 3, time, time]
        for table, record, rows, types in (
            ("raw_usage", RawUsage, list(usage), usage_types),
            ("price", RawPrice, list(prices), price_types),
        ):
            columns = {
                name: pa.array([row[place] for row in rows], type=types[place])
                for place, name in enumerate(record._fields)
            }
            self._database.register("given", pa.table(columns))
            money = "cost" if table == "raw_usage" else "price"
            exact = f"* REPLACE (CAST({money} AS DECIMAL(30, 12)) AS {money})"
            self._database.execute(f"CREATE TABLE {table} AS SELECT {exact} FROM given")

    def platform(self, grain: str) -> dict[tuple[Any, str], dict[str, Any]]:
        """Return the measures by window and external id of the agent; '' is the whole organisation."""
        facts = OF_EVENTS.format(window=WINDOW[grain].format(time="time"))
        sql = MEASURES_OF_EVENTS.replace("{facts}", facts)
        for name, condition in KINDS.items():
            sql = sql.replace(name, condition)
        window = WINDOW[grain].format(time="first_time")
        found: dict[tuple[Any, str], dict[str, Any]] = {}
        for statement in (sql, MEASURES_OF_CONVERSATIONS.replace("{window}", window)):
            for row in self._rows(statement):
                key = row.pop("bucket"), row.pop("who")
                found.setdefault(key, {}).update(_with_percentiles(row))
        for bucket, who, error_class, errors in self._database.execute(
            ERROR_CLASSES.replace("{facts}", facts)
        ).fetchall():
            found[bucket, who].setdefault("errors_by_class", {})[error_class] = errors
        return found

    def usage(self, grain: str) -> dict[tuple[Any, ...], tuple[Any, ...]]:
        """Return quantity, cost and number of events by window, agent, model, source and kind."""
        sql = USAGE.replace("{window}", WINDOW[grain].format(time='"at"'))
        return {row[:5]: row[5:] for row in self._database.execute(sql).fetchall()}

    def _rows(self, sql: str) -> Iterable[dict[str, Any]]:
        cursor = self._database.execute(sql)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _with_percentiles(row: dict[str, Any]) -> dict[str, Any]:
    """Replace each sorted list of values by its percentiles: the value at the place ceil(share * n)."""
    for name, shares in PERCENTILES.items():
        if name in row:
            values = row.pop(name) or []
            for share in shares:
                place = -(-share * len(values) // 100)
                row[f"{name}_p{share}_ms"] = values[place - 1] if values else None
    return row


def differences(
    expected: dict[tuple[Any, str], dict[str, Any]], stored: Iterable[dict[str, Any]]
) -> list[str]:
    """Return a line for each value of the roll-ups that differs from what DuckDB computed."""
    wrong, seen = list[str](), set[tuple[Any, str]]()
    for row in stored:
        key = row["bucket"], row["who"] or ""
        seen.add(key)
        wanted = expected.get(key, {})
        for name, value in row.items():
            if name in {"bucket", "who"}:
                continue
            default = (
                {} if name == "errors_by_class" else None if name.endswith("_ms") and "_p" in name else 0
            )
            if value != wanted.get(name, default):
                wrong.append(f"{key} {name}: {json.dumps(value, default=str)} is {wanted.get(name, default)}")
    return wrong + [f"{key} is missing" for key in expected.keys() - seen]
