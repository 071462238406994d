-- name: state  of one breaker: seconds until a probe may be sent; no row while it is closed without failures
SELECT opened_at IS NOT NULL AS open, failures,
    extract(epoch FROM greatest(retry_at, CASE WHEN probe IS NOT NULL THEN probe_until END) - clock_timestamp())::float8 AS wait_s
FROM rate_breakers WHERE name = %(name)s;

-- name: probe  one process at a time; a probe whose process was lost makes way for the next one
UPDATE rate_breakers SET probe = %(probe)s, probe_until = clock_timestamp() + %(probe_s)s * interval '1 second'
WHERE name = %(name)s AND opened_at IS NOT NULL AND retry_at <= clock_timestamp()
  AND (probe IS NULL OR probe_until <= clock_timestamp())
RETURNING name;

-- name: ensure
INSERT INTO rate_breakers (name) VALUES (%(name)s) ON CONFLICT DO NOTHING;

-- name: failed  a failure of a call that began before the breaker opened changes nothing
UPDATE rate_breakers AS breaker SET
    failures = counted.failures,
    first_failure_at = CASE WHEN counted.failures = 1 THEN at ELSE breaker.first_failure_at END,
    opened_at = CASE WHEN counted.failures >= %(threshold)s THEN at END,
    pause_s = CASE WHEN counted.failures >= %(threshold)s THEN %(pause_s)s END,
    retry_at = CASE WHEN counted.failures >= %(threshold)s THEN at + %(pause_s)s * interval '1 second' END
FROM (
    SELECT name, clock_timestamp() AS at,
        CASE WHEN first_failure_at > clock_timestamp() - %(window_s)s * interval '1 second' THEN failures + 1 ELSE 1 END AS failures
    FROM rate_breakers WHERE name = %(name)s FOR UPDATE
) AS counted
WHERE breaker.name = counted.name AND breaker.opened_at IS NULL;

-- name: probe_failed  the next pause is twice as long
UPDATE rate_breakers SET probe = NULL, probe_until = NULL,
    pause_s = least(%(longest_pause_s)s, greatest(2 * pause_s, %(pause_s)s)),
    retry_at = clock_timestamp() + least(%(longest_pause_s)s, greatest(2 * pause_s, %(pause_s)s)) * interval '1 second'
WHERE name = %(name)s AND probe = %(probe)s;

-- name: probe_undecided
UPDATE rate_breakers SET probe = NULL, probe_until = NULL WHERE name = %(name)s AND probe = %(probe)s;

-- name: probe_succeeded
UPDATE rate_breakers SET probe = NULL, probe_until = NULL, opened_at = NULL, retry_at = NULL, pause_s = NULL, failures = 0
WHERE name = %(name)s AND probe = %(probe)s;

-- name: succeeded
UPDATE rate_breakers SET failures = 0 WHERE name = %(name)s AND opened_at IS NULL AND failures > 0;

-- name: waiting  calls of all processes that wait for room in a budget
SELECT count(*) FROM rate_claims WHERE state = 'waiting' AND until > clock_timestamp();

-- name: all  leaves out providers that no process has called for an hour after a probe was allowed: the settings may no longer have them
SELECT name, opened_at IS NOT NULL AS open, retry_at, probe IS NOT NULL AND probe_until > clock_timestamp() AS probing
FROM rate_breakers WHERE retry_at IS NULL OR retry_at > clock_timestamp() - interval '1 hour' ORDER BY name;
