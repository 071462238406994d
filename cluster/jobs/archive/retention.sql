-- Statements whose name ends in _of_all are about every organisation, and return the organisation of each row.

-- name: lock_of_all  one process at a time; a second one does nothing
SELECT pg_try_advisory_xact_lock(hashtextextended('retention', 0));

-- name: old_jobs_of_all  locked, so that none of them is queued again while it is moved
SELECT organisation, id, kind, state, priority_class, priority, subject, input, result, error, error_code, done, total, unit,
       attempt, last_attempt, worker, stage, schedule, scheduled_for, run_window, key, traceparent, created_at, started_at, finished_at
FROM jobs
WHERE finished_at < now() - make_interval(secs => %(older_than_s)s) AND state IN ('succeeded', 'failed', 'cancelled')
ORDER BY finished_at, organisation, id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: attempts
SELECT organisation, job, attempt, worker, started_at, ended_at, outcome, error FROM job_attempts
WHERE (organisation, job) IN (SELECT * FROM unnest(%(organisation)s::text[], %(id)s::text[]))
ORDER BY attempt;

-- name: stages
SELECT organisation, job, attempt, stage, tries, started_at, ended_at, error FROM job_stages
WHERE (organisation, job) IN (SELECT * FROM unnest(%(organisation)s::text[], %(id)s::text[]))
ORDER BY attempt, started_at, stage;

-- name: events
SELECT organisation, job, id, at, type, data FROM job_events
WHERE (organisation, job) IN (SELECT * FROM unnest(%(organisation)s::text[], %(id)s::text[]))
ORDER BY id;

-- name: delete_jobs  their attempts, stages and events are deleted with them; usage events name a job and stay
DELETE FROM jobs
WHERE (organisation, id) IN (SELECT * FROM unnest(%(organisation)s::text[], %(id)s::text[]));

-- name: delete_uploads_of_all  uploads that have ended; their parts were deleted when they ended
DELETE FROM uploads WHERE status <> 'pending' AND expires_at < now() - make_interval(secs => %(older_than_s)s);
