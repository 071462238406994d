-- name: take_turn  the virtual time of the class is now that of this turn, or later
UPDATE class_turns SET now = greatest(now, %(turn)s) WHERE priority_class = %(priority_class)s;

-- name: next  the job that the turn leads to
SELECT id, run_window, now() FROM jobs
WHERE organisation = %(organisation)s AND priority_class = %(priority_class)s AND state = 'queued' AND kind = ANY(%(kinds)s)
    AND (retry_at IS NULL OR retry_at <= now())
    AND (%(suspects)s OR attempt = 1 OR NOT EXISTS (
        SELECT 1 FROM job_attempts AS earlier
        WHERE (earlier.organisation, earlier.job) = (jobs.organisation, jobs.id) AND earlier.outcome = 'lost'))
ORDER BY priority DESC, created_at, id
LIMIT 1
FOR UPDATE SKIP LOCKED;

-- name: begin
WITH begun AS (
    UPDATE jobs SET state = 'running', entry = %(entry)s, worker = %(worker)s, started_at = coalesce(started_at, now()),
        retry_at = NULL, stage = NULL, waits_for = NULL, error = NULL, error_code = NULL
    WHERE organisation = %(organisation)s AND id = %(id)s
    RETURNING *
), attempt AS (
    INSERT INTO job_attempts (organisation, job, attempt, worker) SELECT organisation, id, attempt, worker FROM begun
)
SELECT {columns} FROM begun AS jobs;

-- name: unknown_kind_waits  a job of a kind that this worker does not know
SELECT 1 FROM jobs
WHERE organisation = %(organisation)s AND priority_class = %(priority_class)s AND state = 'queued' AND NOT kind = ANY(%(kinds)s)
    AND (retry_at IS NULL OR retry_at <= now())
LIMIT 1;

-- name: suspect_waits  a job whose worker died during an earlier attempt
SELECT 1 FROM jobs
JOIN job_attempts AS earlier ON (earlier.organisation, earlier.job) = (jobs.organisation, jobs.id) AND earlier.outcome = 'lost'
WHERE jobs.organisation = %(organisation)s AND priority_class = %(priority_class)s AND state = 'queued' AND kind = ANY(%(kinds)s)
    AND (retry_at IS NULL OR retry_at <= now())
LIMIT 1;

-- name: is_suspect
SELECT 1 FROM job_attempts WHERE organisation = %(organisation)s AND job = %(id)s AND outcome = 'lost' LIMIT 1;

-- name: end
UPDATE job_attempts SET ended_at = now(), outcome = %(outcome)s, error = %(error)s
WHERE organisation = %(organisation)s AND job = %(id)s AND attempt = %(attempt)s;

-- name: hold  no row where this is no longer the current attempt
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running'
FOR UPDATE;

-- name: finish
UPDATE jobs SET state = %(state)s, result = %(result)s, error = %(error)s, error_code = %(error_code)s, finished_at = now(), waits_for = NULL,
    retry_at = NULL, cancel_reason = NULL, cancel_code = NULL, done = CASE WHEN %(state)s = 'succeeded' THEN coalesce(total, done) ELSE done END
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};
