-- name: renew  who claims lives, and so does what he claims; nobody where the turn was taken from him meanwhile
WITH taken AS (SELECT worker_id FROM procrastinate_jobs WHERE id = %(entry)s AND status = 'doing' FOR UPDATE)
UPDATE procrastinate_workers AS worker SET last_heartbeat = greatest(last_heartbeat, now())
FROM taken WHERE worker.id = taken.worker_id
RETURNING worker.id;

-- name: beyond_cap  the entry came without a lock, as those with a time do, and the organisation has a cap
SELECT 1 FROM procrastinate_jobs AS entry, organisations
WHERE entry.id = %(entry)s AND entry.status = 'doing' AND entry.lock IS NULL
    AND organisations.id = %(organisation)s AND organisations.concurrency_limit > 0;

-- name: take_turn  the class has come as far as this turn
UPDATE class_turns SET now = greatest(now, %(turn)s) WHERE class = %(priority_class)s;

-- name: claim
WITH next AS (
    SELECT organisation, id FROM jobs
    WHERE organisation = %(organisation)s AND class = %(priority_class)s AND state = 'queued' AND kind = ANY(%(kinds)s)
        AND (retry_at IS NULL OR retry_at <= now())
        AND (%(suspects)s OR attempt = 1 OR NOT EXISTS (
            SELECT 1 FROM job_attempts AS tried
            WHERE (tried.organisation, tried.job) = (jobs.organisation, jobs.id) AND tried.outcome = 'lost'))
    ORDER BY priority DESC, created_at, id
    LIMIT 1
    FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET state = 'running', entry = %(entry)s, worker = %(worker)s, started_at = coalesce(jobs.started_at, now()),
    retry_at = NULL, stage = NULL, waits_for = NULL, error = NULL, error_code = NULL
FROM next
WHERE jobs.organisation = next.organisation AND jobs.id = next.id
RETURNING {columns};

-- name: stranger  a job of a kind that this worker does not know
SELECT 1 FROM jobs
WHERE organisation = %(organisation)s AND class = %(priority_class)s AND state = 'queued' AND NOT kind = ANY(%(kinds)s)
    AND (retry_at IS NULL OR retry_at <= now())
LIMIT 1;

-- name: suspect_waits  a job whose worker died under an earlier try
SELECT 1 FROM jobs
JOIN job_attempts AS tried ON (tried.organisation, tried.job) = (jobs.organisation, jobs.id) AND tried.outcome = 'lost'
WHERE jobs.organisation = %(organisation)s AND class = %(priority_class)s AND state = 'queued' AND kind = ANY(%(kinds)s)
    AND (retry_at IS NULL OR retry_at <= now())
LIMIT 1;

-- name: is_suspect
SELECT 1 FROM job_attempts WHERE organisation = %(organisation)s AND job = %(id)s AND outcome = 'lost' LIMIT 1;

-- name: begin
INSERT INTO job_attempts (organisation, job, attempt, worker) VALUES (%(organisation)s, %(id)s, %(attempt)s, %(worker)s);

-- name: end
UPDATE job_attempts SET ended_at = now(), outcome = %(outcome)s, error = %(error)s
WHERE organisation = %(organisation)s AND job = %(id)s AND attempt = %(attempt)s;

-- name: hold  the row, if this try still counts
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = %(id)s AND attempt = %(attempt)s AND state = 'running'
FOR UPDATE;

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

-- name: progress  never backwards within an attempt, and whole only at the end
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

-- name: finish
UPDATE jobs SET state = %(state)s, result = %(result)s, error = %(error)s, error_code = %(error_code)s, finished_at = now(), waits_for = NULL,
    retry_at = NULL, cancel_reason = NULL, cancel_code = NULL, done = CASE WHEN %(state)s = 'succeeded' THEN coalesce(total, done) ELSE done END
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};
