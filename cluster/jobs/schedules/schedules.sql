-- Statements whose name ends in _of_all are about every organisation.

-- name: create
INSERT INTO schedules (organisation, id, name, kind, arguments, cron, interval_s, time_zone, priority_class, priority, enabled,
    all_organisations, catch_up, catch_up_limit, not_before, run_window, next_run_at)
VALUES (%(organisation)s, %(id)s, %(name)s, %(kind)s, %(arguments)s, %(cron)s, %(interval_s)s, %(time_zone)s, %(priority_class)s,
    %(priority)s, %(enabled)s, %(all_organisations)s, %(catch_up)s, %(catch_up_limit)s, %(not_before)s, %(run_window)s, %(next_run_at)s)
ON CONFLICT (organisation, id) DO NOTHING
RETURNING {columns};

-- name: now  the clock is the database's, which all processes share
SELECT now();

-- name: lock_organisation  until the transaction ends, so that two requests do not pass the limit together
SELECT 1 FROM organisations WHERE id = %(organisation)s FOR NO KEY UPDATE;

-- name: count
SELECT count(*) FROM schedules WHERE organisation = %(organisation)s;

-- name: get
SELECT {columns} FROM schedules WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: lock
SELECT {columns} FROM schedules WHERE organisation = %(organisation)s AND id = %(id)s FOR UPDATE;

-- name: list
SELECT {columns} FROM schedules WHERE organisation = %(organisation)s ORDER BY id;

-- name: newest
SELECT {columns} FROM schedules
WHERE organisation = %(organisation)s
  AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM schedules
WHERE organisation = %(organisation)s
  AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM schedules WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: update  a schedule that a person changes or resumes has no more reason why a worker disabled it
UPDATE schedules SET name = %(name)s, arguments = %(arguments)s, cron = %(cron)s, interval_s = %(interval_s)s, time_zone = %(time_zone)s,
    priority_class = %(priority_class)s, priority = %(priority)s, enabled = %(enabled)s, catch_up = %(catch_up)s,
    catch_up_limit = %(catch_up_limit)s, not_before = %(not_before)s, run_window = %(run_window)s, next_run_at = %(next_run_at)s,
    disabled_because = NULL
WHERE organisation = %(organisation)s AND id = %(id)s
RETURNING {columns};

-- name: delete
DELETE FROM schedules WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: due_of_all  the database refuses new jobs of a deleted organisation
SELECT {columns}, coalesce(%(now)s, now()) AS now FROM schedules
WHERE enabled AND next_run_at <= coalesce(%(now)s, now())
  AND NOT EXISTS (SELECT 1 FROM organisations WHERE organisations.id = schedules.organisation AND deleted_at IS NOT NULL)
ORDER BY next_run_at, organisation, id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: lag_of_all  seconds by which the most overdue schedule is late
SELECT coalesce(extract(epoch FROM now() - min(next_run_at)), 0)::float8 FROM schedules WHERE enabled AND next_run_at <= now()
  AND NOT EXISTS (SELECT 1 FROM organisations WHERE organisations.id = schedules.organisation AND deleted_at IS NOT NULL);

-- name: organisations_of_all  those that have no run for this time yet; the cluster itself is none of them, and no deleted one is
SELECT id FROM organisations
WHERE id <> %(organisation)s AND deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM schedule_runs
    WHERE schedule_runs.organisation = %(organisation)s AND schedule = %(id)s AND scheduled_for = %(scheduled_for)s
      AND job_organisation = organisations.id)
ORDER BY id
LIMIT %(limit)s;

-- name: begin_run  returns no row if the time has a run already
INSERT INTO schedule_runs (organisation, schedule, scheduled_for, job_organisation, id, by_hand, missed_from)
VALUES (%(organisation)s, %(schedule)s, %(scheduled_for)s, %(job_organisation)s, %(id)s, %(by_hand)s, %(missed_from)s)
ON CONFLICT DO NOTHING
RETURNING 1;

-- name: end_run
UPDATE schedule_runs SET job = %(job)s, error = %(error)s, error_code = %(error_code)s
WHERE organisation = %(organisation)s AND schedule = %(schedule)s AND scheduled_for = %(scheduled_for)s
  AND job_organisation = %(job_organisation)s;

-- name: advance
UPDATE schedules SET last_run_at = coalesce(%(last_run_at)s, last_run_at), last_job = coalesce(%(last_job)s, last_job), next_run_at = %(next_run_at)s
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: disable
UPDATE schedules SET enabled = false, disabled_because = %(reason)s
WHERE organisation = %(organisation)s AND id = %(id)s;
