-- name: submit
INSERT INTO jobs (organisation, id, kind, state, input, subject, total, unit, priority_class, priority,
    last_attempt, retry_at, entry, by_command, key, traceparent)
VALUES (%(organisation)s, %(id)s, %(kind)s, 'queued', %(input)s, %(subject)s, %(total)s, %(unit)s, %(priority_class)s, %(priority)s,
    %(last_attempt)s, %(retry_at)s, %(entry)s, %(by_command)s, %(key)s, %(traceparent)s)
RETURNING {columns};

-- name: event
INSERT INTO job_events (organisation, job, type, data) VALUES (%(organisation)s, %(id)s, %(type)s, %(data)s);

-- name: turns  the last of the organisation's new turns in the class, and the organisation's concurrency limit
INSERT INTO organisation_turns (organisation, priority_class, last)
SELECT %(organisation)s, priority_class, now + %(count)s FROM class_turns WHERE priority_class = %(priority_class)s
ON CONFLICT (organisation, priority_class) DO UPDATE SET last = greatest(organisation_turns.last + %(count)s, excluded.last)
RETURNING last, (SELECT concurrency_limit FROM organisations WHERE id = %(organisation)s);

-- name: lock
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = %(id)s
FOR UPDATE;

-- name: lock_many  in order of id, so that two transactions that do it do not deadlock
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s AND id = ANY(%(ids)s)
ORDER BY id
FOR UPDATE;

-- name: cancel_many_queued
UPDATE jobs SET state = 'cancelled', cancel_asked = true, finished_at = now(), error = %(reason)s, error_code = %(code)s, retry_at = NULL
WHERE organisation = %(organisation)s AND id = ANY(%(ids)s) AND state = 'queued';

-- name: cancel_queued
UPDATE jobs SET state = 'cancelled', cancel_asked = true, finished_at = now(), error = %(reason)s, error_code = %(code)s, retry_at = NULL
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: ask_to_cancel
UPDATE jobs SET cancel_asked = true, cancel_reason = coalesce(cancel_reason, %(reason)s), cancel_code = coalesce(cancel_code, %(code)s)
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: requeue  the new attempt has a higher number, so writes of earlier attempts are refused
UPDATE jobs SET state = 'queued', attempt = attempt + 1, last_attempt = %(last_attempt)s, entry = %(entry)s,
    by_command = %(by_command)s, retry_at = %(retry_at)s,
    error = %(error)s, error_code = %(error_code)s, stage = NULL, waits_for = NULL, cancel_asked = false, cancel_reason = NULL,
    cancel_code = NULL, finished_at = NULL, done = 0
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};
