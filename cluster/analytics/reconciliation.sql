-- name: period  whole days in the time zone, up to the current day, of which every fact exists
SELECT begins_at, ends_at, (begins_at AT TIME ZONE time_zone)::date AS first_day,
    (ends_at AT TIME ZONE time_zone)::date AS end_day, time_zone
FROM organisations AS organisation,
    LATERAL (SELECT (now() AT TIME ZONE organisation.time_zone)::date AS today) AS local,
    LATERAL (SELECT coalesce(max(start_of_day((facts_since AT TIME ZONE organisation.time_zone)::date + 1,
            organisation.time_zone)), '-infinity') AS since
        FROM analytics_progress AS progress
        WHERE progress.organisation = organisation.id AND isfinite(facts_since)) AS facts,
    LATERAL (SELECT greatest(start_of_day(local.today - %(days)s, time_zone), facts.since) AS begins_at,
        start_of_day(local.today, time_zone) AS ends_at) AS period
WHERE organisation.id = %(organisation)s AND deleted_at IS NULL;

-- name: windows
SELECT count(DISTINCT {column}) FROM {table}
WHERE organisation = %(organisation)s AND {column} >= %(first)s AND {column} < %(end)s;

-- name: platform  sums from the facts beside the sums of the roll-up, for each window in which they differ
WITH fact AS (
    SELECT {window_of_occurred_at} AS bucket, count(*) AS events, 0 AS messages, 0::numeric AS tokens, 0::numeric AS cost,
        0 AS conversations
    FROM customer_events
    WHERE organisation = %(organisation)s AND occurred_at >= %(from)s AND occurred_at < %(to)s GROUP BY 1
    UNION ALL SELECT {window_of_occurred_at}, 0, count(*), sum(input_tokens + output_tokens), sum(cost), 0
    FROM messages
    WHERE organisation = %(organisation)s AND occurred_at >= %(from)s AND occurred_at < %(to)s GROUP BY 1
    UNION ALL SELECT {window_of_first_event_at}, 0, 0, 0, 0, count(*)
    FROM conversations
    WHERE organisation = %(organisation)s AND first_event_at >= %(from)s AND first_event_at < %(to)s GROUP BY 1
), expected AS (
    SELECT bucket, jsonb_build_object('events', sum(events), 'messages', sum(messages), 'tokens', sum(tokens),
        'cost', trim_scale(sum(cost)), 'conversations', sum(conversations)) AS sums
    FROM fact GROUP BY bucket
), stored AS (
    SELECT {column} AS bucket, jsonb_build_object('events', events, 'messages', messages,
        'tokens', input_tokens + output_tokens, 'cost', trim_scale(cost), 'conversations', conversations) AS sums
    FROM {table}
    WHERE organisation = %(organisation)s AND agent IS NULL AND {column} >= %(first)s AND {column} < %(end)s
)
SELECT bucket::text, expected.sums AS facts, stored.sums AS rollup
FROM expected FULL JOIN stored USING (bucket)
WHERE expected.sums IS DISTINCT FROM stored.sums AND NOT EXISTS (
    SELECT FROM dirty_windows WHERE organisation = %(organisation)s AND about = 'platform'
        AND bucket IN ({window_of_hour}, {window_of_hour_end}))
ORDER BY bucket;

-- name: usage
WITH expected AS (
    SELECT {window_of_at} AS bucket, kind, jsonb_build_object('events', count(*), 'quantity', sum(quantity), 'cost',
        trim_scale(sum(usage_cost(organisation, kind, model, at, quantity, cost)))) AS sums
    FROM usage_events
    WHERE organisation = %(organisation)s AND at >= %(from)s AND at < %(to)s GROUP BY 1, 2
), stored AS (
    SELECT {column} AS bucket, kind, jsonb_build_object('events', sum(events), 'quantity', sum(quantity),
        'cost', trim_scale(sum(cost))) AS sums
    FROM {table}
    WHERE organisation = %(organisation)s AND {column} >= %(first)s AND {column} < %(end)s GROUP BY 1, 2
)
SELECT bucket::text, expected.sums AS facts, stored.sums AS rollup
FROM expected FULL JOIN stored USING (bucket, kind)
WHERE expected.sums IS DISTINCT FROM stored.sums AND NOT EXISTS (
    SELECT FROM dirty_windows WHERE organisation = %(organisation)s AND about = 'usage'
        AND bucket IN ({window_of_hour}, {window_of_hour_end}))
ORDER BY bucket, kind;

-- name: reports  days whose roll-ups did not change after the last final report, and were billed with other sums
WITH last AS (
    SELECT period_end, created_at FROM usage_reports
    WHERE organisation = %(organisation)s AND state = 'final' AND status = 'completed'
    ORDER BY period_end DESC LIMIT 1
), rolled AS (
    SELECT day, kind, jsonb_build_object('events', sum(events), 'quantity', sum(quantity),
        'cost', trim_scale(coalesce(sum(cost), 0))) AS sums
    FROM usage_daily WHERE organisation = %(organisation)s
    GROUP BY day, kind HAVING max(computed_at) < (SELECT created_at FROM last)
), billed AS (
    SELECT day, kind, jsonb_build_object('events', sum(events), 'quantity', sum(quantity),
        'cost', trim_scale(coalesce(sum(cost), 0))) AS sums
    FROM usage_report_lines WHERE organisation = %(organisation)s GROUP BY day, kind
)
SELECT day::text, rolled.sums AS facts, billed.sums AS rollup
FROM rolled LEFT JOIN billed USING (day, kind)
WHERE day < (SELECT period_end FROM last) AND rolled.sums IS DISTINCT FROM billed.sums
ORDER BY day, kind;

-- name: record
INSERT INTO reconciliations (organisation, checked_at, from_time, to_time, windows, differences)
VALUES (%(organisation)s, now(), %(from)s, %(to)s, %(windows)s, %(differences)s)
ON CONFLICT (organisation) DO UPDATE SET (checked_at, from_time, to_time, windows, differences) =
    (excluded.checked_at, excluded.from_time, excluded.to_time, excluded.windows, excluded.differences);

-- name: differences_of_all
SELECT organisation, jsonb_array_elements(differences) FROM reconciliations ORDER BY organisation;

-- name: count_of_all
SELECT coalesce(sum(jsonb_array_length(differences)), 0) FROM reconciliations;
