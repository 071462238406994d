-- name: create
INSERT INTO schedules (organisation, id, kind, arguments, cron, interval_s, time_zone, priority_class, next_run_at)
VALUES (%(organisation)s, %(id)s, %(kind)s, %(arguments)s, %(cron)s, %(interval_s)s, %(time_zone)s, %(priority_class)s, %(next_run_at)s)
ON CONFLICT (organisation, id) DO NOTHING
RETURNING {columns};

-- name: list
SELECT {columns} FROM schedules
WHERE organisation = %(organisation)s
ORDER BY id;

-- name: due_of_all  the clock is the database's, which all processes share
SELECT {columns}, now() AS now FROM schedules
WHERE enabled AND next_run_at <= now()
ORDER BY next_run_at, organisation, id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: job_exists
SELECT 1 FROM jobs WHERE organisation = %(organisation)s AND id = %(job)s;

-- name: advance
UPDATE schedules SET last_run_at = next_run_at, last_job = %(job)s, next_run_at = %(next_run_at)s
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: disable
UPDATE schedules SET enabled = false
WHERE organisation = %(organisation)s AND id = %(id)s;
