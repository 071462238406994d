-- name: alone  one roll-up of the organisation at a time; a change of the time zone waits for it
SELECT pg_advisory_xact_lock(hashtextextended('roll-ups of ' || %(organisation)s, 0)),
    pg_advisory_xact_lock_shared(hashtextextended('roll-ups read prices', 0));

-- name: state
SELECT organisation.time_zone, organisation.deleted_at IS NOT NULL AS deleted,
    now() AS began, date_trunc('hour', now(), 'UTC') AS this_hour, progress.rolled_through, progress.computed_at,
    date_trunc('hour', start_of_day(((now() - interval '3 hours') AT TIME ZONE time_zone)::date, time_zone), 'UTC')
        AS recent_day
FROM organisations AS organisation
LEFT JOIN analytics_progress AS progress ON progress.organisation = organisation.id
WHERE organisation.id = %(organisation)s;

-- name: take  the transaction computes these windows afterwards
DELETE FROM dirty_windows
WHERE organisation = %(organisation)s AND about = %(about)s AND grain = %(grain)s AND hour = ANY (ARRAY(
    SELECT DISTINCT hour FROM dirty_windows
    WHERE organisation = %(organisation)s AND about = %(about)s AND grain = %(grain)s
        AND hour >= %(from)s AND hour < %(before)s
    ORDER BY hour LIMIT %(limit)s))
RETURNING hour;

-- name: mark
INSERT INTO dirty_windows (organisation, about, grain, hour)
SELECT %(organisation)s, %(about)s, %(grain)s, hour FROM unnest(%(hours)s::timestamptz[]) AS hour;

-- name: mark_period  each hour of the period
INSERT INTO dirty_windows (organisation, about, hour)
SELECT %(organisation)s, about, hour
FROM unnest(ARRAY['usage', 'platform']) AS about,
    generate_series(date_trunc('hour', %(from)s::timestamptz, 'UTC'), %(to)s::timestamptz - interval '1 microsecond',
        interval '1 hour') AS hour;

-- name: mark_settled  conversations that are quiet for 24 hours now
INSERT INTO dirty_windows (organisation, about, hour)
SELECT DISTINCT conversation.organisation, 'platform', date_trunc('hour', first_event_at, 'UTC')
FROM conversations AS conversation
LEFT JOIN analytics_progress AS progress ON progress.organisation = conversation.organisation
WHERE conversation.organisation = %(organisation)s AND resolved IS NULL AND handed_over_at IS NULL
    AND last_event_at > coalesce(progress.settled_through, '-infinity') - interval '24 hours'
    AND last_event_at <= now() - interval '24 hours';

-- name: settled
INSERT INTO analytics_progress (organisation, settled_through) VALUES (%(organisation)s, now())
ON CONFLICT (organisation) DO UPDATE SET settled_through = excluded.settled_through;

-- name: hour_spans
SELECT hour AS bucket, hour AS starts_at, hour + interval '1 hour' AS ends_at
FROM unnest(%(hours)s::timestamptz[]) AS hour
WHERE hour >= (SELECT facts_since FROM analytics_progress WHERE organisation = %(organisation)s) OR %(about)s = 'usage'
ORDER BY hour;

-- name: day_spans  the days that the hours touch, up to the current hour
SELECT day AS bucket, starts_at, ends_at
FROM (
    SELECT DISTINCT day, start_of_day(day, %(zone)s) AS starts_at,
        least(start_of_day(day + 1, %(zone)s), %(before)s) AS ends_at
    FROM unnest(%(hours)s::timestamptz[]) AS hour,
        LATERAL (VALUES ((hour AT TIME ZONE %(zone)s)::date),
            (((hour + interval '1 hour' - interval '1 microsecond') AT TIME ZONE %(zone)s)::date)) AS touched (day)
) AS span
WHERE starts_at >= (SELECT facts_since FROM analytics_progress WHERE organisation = %(organisation)s)
    OR %(about)s = 'usage'
ORDER BY day;

-- name: rolled
UPDATE analytics_progress SET rolled_through = greatest(rolled_through, %(before)s), computed_at = %(began)s
WHERE organisation = %(organisation)s;

-- name: waiting
SELECT count(DISTINCT (about, hour)) FROM dirty_windows
WHERE organisation = %(organisation)s AND grain = %(grain)s AND hour >= %(from)s AND hour < %(before)s;

-- name: organisations_of_all  deleted ones with usage that is not rolled up, too
SELECT id FROM organisations WHERE deleted_at IS NULL
UNION SELECT DISTINCT organisation FROM dirty_windows
ORDER BY 1;

-- name: lag_of_all  seconds since the first window that waits could be computed
SELECT coalesce(extract(epoch FROM now() - min(greatest(marked_at, hour + interval '1 hour'))), 0)::float8
FROM dirty_windows WHERE grain = 'hour' AND hour < date_trunc('hour', now(), 'UTC');
