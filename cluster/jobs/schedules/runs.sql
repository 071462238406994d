-- name: newest
SELECT {columns} FROM schedule_runs AS run LEFT JOIN jobs AS job ON job.organisation = run.job_organisation AND job.id = run.job
WHERE run.organisation = %(organisation)s AND run.schedule = %(schedule)s
  AND (run.scheduled_for, run.id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (run.scheduled_for, run.id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY run.scheduled_for DESC, run.id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM schedule_runs AS run LEFT JOIN jobs AS job ON job.organisation = run.job_organisation AND job.id = run.job
WHERE run.organisation = %(organisation)s AND run.schedule = %(schedule)s
  AND (run.scheduled_for, run.id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (run.scheduled_for, run.id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY run.scheduled_for, run.id
LIMIT %(limit)s;

-- name: places
SELECT min(scheduled_for), max(scheduled_for) FROM schedule_runs
WHERE organisation = %(organisation)s AND schedule = %(schedule)s AND id = %(id)s;

-- name: of_time
SELECT {columns} FROM schedule_runs AS run LEFT JOIN jobs AS job ON job.organisation = run.job_organisation AND job.id = run.job
WHERE run.organisation = %(organisation)s AND run.schedule = %(schedule)s AND run.scheduled_for = %(scheduled_for)s
ORDER BY run.job_organisation;

-- name: delete_old_of_all  runs without a job; the others are deleted with their jobs
DELETE FROM schedule_runs WHERE job IS NULL AND created_at < now() - make_interval(secs => %(older_than_s)s);
