-- name: replace
DELETE FROM {table} WHERE organisation = %(organisation)s AND {bucket} = ANY(%(buckets)s::{type}[]);

-- name: sum  each hour has one price, so sums of an hour are priced; a subquery names the organisation as in platform_rollup.sql
INSERT INTO {table} (organisation, {bucket}, agent, model, source, kind, quantity, cost, events)
WITH span AS MATERIALIZED (
    SELECT * FROM unnest(%(buckets)s::{type}[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
        AS span (bucket, starts_at, ends_at)
), piece AS (
    SELECT span.bucket, event.agent, event.model, event.source, event.kind,
        date_trunc('hour', event.at, 'UTC') AS hour, sum(event.quantity) AS quantity, sum(event.cost) AS cost,
        count(*) AS events
    FROM span CROSS JOIN LATERAL (
        SELECT agent, model, source, kind, at, quantity, cost FROM usage_events
        WHERE organisation = (SELECT %(organisation)s::text) AND at >= span.starts_at AND at < span.ends_at
        OFFSET 0
    ) AS event
    GROUP BY 1, 2, 3, 4, 5, 6
)
SELECT %(organisation)s, bucket, agent, model, source, kind, sum(quantity),
    sum(usage_cost(%(organisation)s, kind, model, hour, quantity, cost)), sum(events)
FROM piece
GROUP BY bucket, agent, model, source, kind;
