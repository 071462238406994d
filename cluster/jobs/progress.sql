-- name: stage
UPDATE jobs SET stage = %(stage)s, waits_for = NULL, retry_at = NULL
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running';

-- name: begin_stage
INSERT INTO job_stages (organisation, job, attempt, stage) VALUES (%(organisation)s, %(id)s, %(attempt)s, %(stage)s)
ON CONFLICT (organisation, job, attempt, stage) DO UPDATE SET tries = job_stages.tries + 1, ended_at = NULL;

-- name: stage_done
UPDATE jobs SET done = least(greatest(done, %(done)s), total - 1)
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running';

-- name: end_stage
UPDATE job_stages SET ended_at = now(), error = coalesce(%(error)s, error)
WHERE organisation = %(organisation)s AND job = %(id)s AND attempt = %(attempt)s AND stage = %(stage)s;

-- name: progress  it never falls within an attempt, and reaches the total only when the job succeeds
UPDATE jobs SET total = greatest(total, %(job_total)s), waits_for = %(waits_for)s, retry_at = NULL,
    done = least(greatest(done, %(job_done)s), greatest(total, %(job_total)s) - 1)
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running'
RETURNING done, total, unit, stage;

-- name: stage_progress
UPDATE job_stages SET done = greatest(done, %(done)s), total = greatest(total, %(total)s), unit = %(unit)s
WHERE organisation = %(organisation)s AND job = %(id)s AND attempt = %(attempt)s AND stage = %(stage)s
RETURNING done, total, unit;

-- name: pause
UPDATE jobs SET waits_for = %(waits_for)s, retry_at = %(until)s
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running';

-- name: renew_attempts
UPDATE jobs SET last_attempt = greatest(last_attempt, attempt + %(attempts)s)
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running';
