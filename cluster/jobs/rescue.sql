-- name: leaseless  jobs that run, though their entry is not in the hands of a living worker, or the process that began them is silent
SELECT {columns}
FROM jobs
LEFT JOIN procrastinate_jobs entries ON entries.id = jobs.entry
LEFT JOIN procrastinate_workers workers ON workers.id = entries.worker_id
WHERE jobs.state = 'running' AND CASE
    WHEN jobs.entry IS NULL THEN jobs.lease_until IS NULL OR jobs.lease_until < now()
    ELSE entries.status IS DISTINCT FROM 'doing' OR workers.last_heartbeat IS NULL
        OR workers.last_heartbeat < now() - make_interval(secs => %(lease_s)s) END
ORDER BY jobs.organisation, jobs.id;

-- name: commands  whose process is silent
SELECT {columns} FROM jobs
WHERE jobs.state = 'running' AND jobs.entry IS NULL AND (jobs.lease_until IS NULL OR jobs.lease_until < now())
ORDER BY jobs.organisation, jobs.id;

-- name: round  true while workers have time to come back
UPDATE rescue_rounds SET last_at = now(), patient_until = CASE
    WHEN last_at < now() - make_interval(secs => %(gap_s)s) THEN now() + make_interval(secs => %(lease_s)s) ELSE patient_until END
RETURNING patient_until > now();

-- name: stale_entries  taken by a worker that is gone; no job runs under them. Chores among them: their next time comes by itself
SELECT entries.id, entries.task_name = %(task)s AS turn, entries.args ->> 'organisation' AS organisation,
    entries.queue_name AS priority_class
FROM procrastinate_jobs entries
LEFT JOIN procrastinate_workers workers ON workers.id = entries.worker_id
WHERE entries.status = 'doing'
    AND (workers.last_heartbeat IS NULL OR workers.last_heartbeat < now() - make_interval(secs => %(lease_s)s))
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.entry = entries.id AND jobs.state = 'running')
ORDER BY entries.id;

-- name: finish_entry  unless its worker was faster
SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM procrastinate_jobs WHERE id = %(entry)s AND status = 'doing';

-- name: turnless  where more jobs wait than turns are to come
SELECT waiting.organisation, waiting.class AS priority_class, waiting.jobs - coalesce(coming.turns, 0) AS missing
FROM (
    SELECT organisation, class, count(*) AS jobs FROM jobs WHERE state = 'queued' GROUP BY organisation, class
) waiting
LEFT JOIN (
    SELECT args ->> 'organisation' AS organisation, queue_name AS class, count(*) AS turns
    FROM procrastinate_jobs entries
    WHERE status IN ('todo', 'doing') AND task_name = %(task)s
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.entry = entries.id AND jobs.state = 'running')
    GROUP BY 1, 2
) coming USING (organisation, class)
WHERE waiting.jobs > coalesce(coming.turns, 0)
ORDER BY waiting.organisation, waiting.class;

-- name: end_mute  transactions whose process stands still in the middle of a statement (COPY, a pipeline); no timeout ends those
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND application_name = %(application)s
    AND state = 'active' AND wait_event = 'ClientRead' AND query_start < clock_timestamp() - make_interval(secs => %(lease_s)s);

-- name: alone  one rescuer at a time
SELECT pg_try_advisory_xact_lock(hashtextextended('rescue', 0));
