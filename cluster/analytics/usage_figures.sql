-- name: sums  roll-ups of the hours that are computed, and the events of all other times
WITH rolled AS MATERIALIZED (  -- hours before "through" are taken from the roll-ups, if the question allows it
    SELECT CASE WHEN %(from_rollups)s
        THEN least(greatest((SELECT rolled_through FROM analytics_progress WHERE organisation = %(organisation)s),
            %(start)s), %(end)s)
        ELSE %(start)s END AS through
), dirty AS MATERIALIZED (
    SELECT DISTINCT hour FROM dirty_windows, rolled
    WHERE organisation = %(organisation)s AND about = 'usage' AND grain = 'hour' AND hour >= %(start)s AND hour < through
), span AS MATERIALIZED (
    SELECT through AS starts_at, %(end)s::timestamptz AS ends_at FROM rolled
    UNION ALL SELECT hour, hour + interval '1 hour' FROM dirty
), live AS (  -- "period" numbers the periods in which no price changes
    SELECT date_bin(%(width)s, at, timestamptz '1970-01-01 00:00Z') AS bucket,
        width_bucket(at, %(changes)s::timestamptz[]) AS period,
        kind, model,
        CASE WHEN %(by_source)s THEN source END AS source,
        CASE WHEN %(by_key)s THEN key END AS key,
        CASE WHEN %(by_agent)s THEN agent END AS agent,
        min(at) AS first, sum(quantity) AS quantity, sum(cost) AS cost, count(*) AS events
    FROM span JOIN usage_events ON at >= starts_at AND at < ends_at
    WHERE organisation = %(organisation)s
        AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
        AND (%(models)s::text[] IS NULL OR model = ANY(%(models)s))
        AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
        AND (%(keys)s::text[] IS NULL OR key = ANY(%(keys)s))
        AND (%(agents)s::text[] IS NULL OR agent = ANY(%(agents)s))
    GROUP BY 1, 2, 3, 4, 5, 6, 7
), price AS MATERIALIZED (  -- looked up once, because a call of the function takes longer than a sum
    SELECT kind, coalesce(model, '') AS model, period, usage_price(%(organisation)s, kind, model, min(first)) AS price
    FROM live GROUP BY kind, live.model, period
), sums AS (
    SELECT bucket, kind, live.model, source, key, agent, quantity, events,
        coalesce(quantity * price, cost) AS cost  -- as the function usage_cost
    FROM live JOIN price USING (kind, period)
    WHERE price.model = coalesce(live.model, '')
    UNION ALL
    SELECT date_bin(%(width)s, hour, timestamptz '1970-01-01 00:00Z'), kind, model,
        CASE WHEN %(by_source)s THEN source END, NULL, CASE WHEN %(by_agent)s THEN agent END, quantity, events, cost
    FROM usage_hourly
    WHERE organisation = %(organisation)s AND hour >= %(start)s AND hour < (SELECT through FROM rolled)
        AND NOT EXISTS (SELECT FROM dirty WHERE dirty.hour = usage_hourly.hour)
        AND (%(kinds)s::text[] IS NULL OR kind = ANY(%(kinds)s))
        AND (%(models)s::text[] IS NULL OR model = ANY(%(models)s))
        AND (%(sources)s::text[] IS NULL OR source = ANY(%(sources)s))
        AND (%(agents)s::text[] IS NULL OR agent = ANY(%(agents)s))
)
SELECT bucket AS start, kind, CASE WHEN %(by_model)s THEN model END AS model, source, key, agent,
    sum(quantity)::bigint AS quantity, sum(cost) AS cost, sum(events)::bigint AS events
FROM sums
GROUP BY 1, 2, 3, 4, 5, 6
ORDER BY 1, 2, 3, 4, 5, 6;
