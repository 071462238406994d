-- name: round  true while workers have time to come back
UPDATE rescue_rounds SET last_at = now(), patient_until = CASE
    WHEN last_at < now() - make_interval(secs => %(gap_s)s) THEN now() + make_interval(secs => %(lease_s)s) ELSE patient_until END
RETURNING patient_until > now();

-- name: end_silent_transactions  whose process stopped in the middle of a statement (COPY, a pipeline); no timeout ends those
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = session_user AND application_name = %(application)s
    AND state = 'active' AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - make_interval(secs => %(lease_s)s);

-- name: alone  one rescuer at a time
SELECT pg_try_advisory_xact_lock(hashtextextended('rescue', 0));
