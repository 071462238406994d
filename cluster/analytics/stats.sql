-- name: hourly
SELECT rolled.hour AS starts_at, rolled.hour + interval '1 hour' AS ends_at, {measures}
FROM agent_hourly AS rolled
WHERE rolled.organisation = %(organisation)s AND {agent}
    AND hour >= date_trunc('hour', %(from)s::timestamptz, 'UTC') AND hour < %(to)s
ORDER BY hour;

-- name: daily
SELECT start_of_day(day, %(zone)s) AS starts_at, start_of_day(day + 1, %(zone)s) AS ends_at, {measures}
FROM agent_daily AS rolled
WHERE rolled.organisation = %(organisation)s AND {agent}
    AND day >= (%(from)s::timestamptz AT TIME ZONE %(zone)s)::date
    AND day <= ((%(to)s::timestamptz - interval '1 microsecond') AT TIME ZONE %(zone)s)::date
ORDER BY day;

-- name: waiting
SELECT count(DISTINCT hour) FROM dirty_windows
WHERE organisation = %(organisation)s AND about = 'platform' AND grain IN ('hour', %(grain)s)
    AND hour >= date_trunc('hour', %(from)s::timestamptz, 'UTC') AND hour < least(%(to)s, %(through)s);
