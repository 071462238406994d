-- name: start  a job that runs in the process that asks for it, without a place in the queue
INSERT INTO jobs (organisation, id, kind, state, input, total, started_at, last_attempt, lease_until)
VALUES (%(organisation)s, %(id)s, %(kind)s, 'running', %(input)s, %(total)s, now(), 1, now() + make_interval(secs => %(lease_s)s))
RETURNING {columns};

-- name: keep  its process lives, and hears whether somebody wants it to end
UPDATE jobs SET lease_until = now() + make_interval(secs => %(lease_s)s)
WHERE organisation = %(organisation)s AND id = %(id)s AND entry IS NULL
RETURNING cancel_asked;

-- name: progress  never backwards, and whole only at the end
UPDATE jobs SET done = least(greatest(done, %(done)s), total - 1)
WHERE organisation = %(organisation)s AND id = %(id)s AND state = 'running';

-- name: finish  also when its process was taken for dead, and was not
UPDATE jobs SET state = %(state)s, result = %(result)s, finished_at = now(), cancel_reason = NULL, cancel_code = NULL,
    error = CASE WHEN %(state)s = 'cancelled' THEN coalesce(cancel_reason, %(error)s) ELSE %(error)s END,
    error_code = CASE WHEN %(state)s = 'cancelled' THEN coalesce(cancel_code, %(error_code)s) ELSE %(error_code)s END,
    done = CASE WHEN %(state)s = 'succeeded' THEN coalesce(total, done) ELSE done END
WHERE organisation = %(organisation)s AND id = %(id)s AND (state = 'running' OR entry IS NULL AND error_code = 'worker_lost')
RETURNING {columns};

-- name: get
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: waiting_of_all  of all organisations; those that wait for their time do not count, nor those beyond an organisation's cap
SELECT coalesce(sum(greatest(least(queued, concurrency_limit - running), 0)), 0)::bigint,
    coalesce(extract(epoch FROM now() - min(oldest) FILTER (WHERE concurrency_limit IS NULL OR running < concurrency_limit)), 0)::float8,
    coalesce(sum(running), 0)::bigint
FROM (
    SELECT organisation,
        count(*) FILTER (WHERE state = 'queued') AS queued,
        count(*) FILTER (WHERE state = 'running' AND entry IS NOT NULL) AS running,
        min(coalesce(retry_at, created_at)) FILTER (WHERE state = 'queued') AS oldest
    FROM jobs
    WHERE state = 'running' OR state = 'queued' AND (retry_at IS NULL OR retry_at <= now())
    GROUP BY organisation, class
) AS line
JOIN organisations ON organisations.id = line.organisation;

-- name: recent
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s
ORDER BY created_at DESC, id
LIMIT %(limit)s;
