-- name: open
SELECT rule, labels, since, fired_at, notified_at, value FROM open_alerts ORDER BY since, rule;

-- name: firing
SELECT rule, count(*)::integer FROM open_alerts WHERE fired_at IS NOT NULL GROUP BY rule;

-- name: keep
INSERT INTO open_alerts (rule, labels, since, fired_at, notified_at, value)
VALUES (%(rule)s, %(labels)s, %(since)s, %(fired_at)s, %(notified_at)s, %(value)s)
ON CONFLICT (rule, labels) DO UPDATE
SET since = EXCLUDED.since, fired_at = EXCLUDED.fired_at, notified_at = EXCLUDED.notified_at, value = EXCLUDED.value;

-- name: close
DELETE FROM open_alerts WHERE rule = %(rule)s AND labels = %(labels)s;

-- name: add_notice
INSERT INTO alert_notices (id, channel, notice, created_at) VALUES (%(id)s, %(channel)s, %(notice)s, %(at)s)
ON CONFLICT DO NOTHING;

-- name: waiting
SELECT channel, notice FROM alert_notices WHERE sent_at IS NULL AND given_up_at IS NULL AND channel = ANY(%(channels)s)
ORDER BY created_at DESC LIMIT %(limit)s;

-- name: failing
SELECT DISTINCT ON (channel) channel, error FROM alert_notices
WHERE sent_at IS NULL AND given_up_at IS NULL AND error IS NOT NULL AND channel = ANY(%(channels)s)
ORDER BY channel, created_at DESC;

-- name: end_attempt  a sent message stays sent: the failed attempt of another process can be recorded later
UPDATE alert_notices
SET attempts = attempts + 1,
    error = CASE WHEN sent_at IS NULL THEN %(error)s::text END,
    sent_at = coalesce(sent_at, CASE WHEN %(error)s::text IS NULL THEN now() END),
    given_up_at = CASE WHEN sent_at IS NULL AND %(given_up)s THEN now() END
WHERE id = %(id)s AND channel = %(channel)s;

-- name: delete_old
DELETE FROM alert_notices WHERE created_at < now() - make_interval(days => %(days)s::integer);

-- name: evaluated
INSERT INTO alert_evaluations (process, evaluated_at) VALUES (%(process)s, now())
ON CONFLICT (only_row) DO UPDATE SET process = EXCLUDED.process, evaluated_at = now();

-- name: last_evaluation
SELECT process, evaluated_at FROM alert_evaluations;

-- name: take_lock  true if this session holds the lock, also from an earlier call
SELECT EXISTS (
    SELECT 1 FROM pg_locks, LATERAL (SELECT hashtextextended(%(name)s, 0) AS id) AS key
    WHERE locktype = 'advisory' AND pid = pg_backend_pid() AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32) | objid::bigint = key.id
) OR pg_try_advisory_lock(hashtextextended(%(name)s, 0));
