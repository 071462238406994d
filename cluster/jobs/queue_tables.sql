-- Statements about Procrastinate's own tables. docs/decisions/023-one-lifecycle-of-jobs.md says why each reads or writes them directly.

-- name: heartbeat  an entry that was taken away from its worker renews nothing
WITH taken AS (
    SELECT worker_id, abort_requested FROM procrastinate_jobs WHERE id = %(entry)s AND status = 'doing' FOR UPDATE
)
UPDATE procrastinate_workers AS worker SET last_heartbeat = greatest(last_heartbeat, now())
FROM taken WHERE worker.id = taken.worker_id
RETURNING taken.abort_requested;

-- name: open_command_entry  it begins as taken, so no worker ever sees it
INSERT INTO procrastinate_jobs (queue_name, task_name, status, worker_id)
SELECT %(task)s, %(task)s, 'doing', worker_id FROM procrastinate_register_worker_v1()
RETURNING id;

-- name: close_command_entry
WITH closed AS (DELETE FROM procrastinate_jobs WHERE id = %(entry)s RETURNING worker_id)
DELETE FROM procrastinate_workers AS worker USING closed WHERE worker.id = closed.worker_id;

-- name: finish_entry  unless its worker has finished it already
SELECT procrastinate_finish_job_v1(id, 'failed', false) FROM procrastinate_jobs WHERE id = %(entry)s AND status = 'doing';

-- name: beyond_limit  the entry came without a lock, as those with a start time do, and the organisation has a concurrency limit
SELECT 1 FROM procrastinate_jobs AS entry, organisations
WHERE entry.id = %(entry)s AND entry.status = 'doing' AND entry.lock IS NULL
    AND organisations.id = %(organisation)s AND organisations.concurrency_limit > 0;

-- name: live_workers  groups of slots, one row each; commands register too, and take no jobs from the queue
SELECT count(*) FROM procrastinate_workers AS worker
WHERE last_heartbeat > now() - make_interval(secs => %(lease_s)s)
    AND NOT EXISTS (SELECT FROM procrastinate_jobs AS entry WHERE entry.worker_id = worker.id AND entry.task_name = %(command)s);

-- name: lost_jobs  running jobs whose queue entry no living worker holds
SELECT {columns}
FROM jobs
LEFT JOIN procrastinate_jobs AS entry ON entry.id = jobs.entry
LEFT JOIN procrastinate_workers AS worker ON worker.id = entry.worker_id
WHERE jobs.state = 'running' AND (jobs.by_command OR NOT %(commands_only)s)
    AND (entry.status IS DISTINCT FROM 'doing' OR worker.last_heartbeat IS NULL
        OR worker.last_heartbeat < now() - make_interval(secs => %(lease_s)s))
ORDER BY jobs.organisation, jobs.id;

-- name: stale_entries  entries that a dead worker took, and under which no job runs
SELECT entry.id, entry.task_name = %(turn)s AS is_turn, entry.args ->> 'organisation' AS organisation,
    split_part(entry.queue_name, '.', 1) AS priority_class
FROM procrastinate_jobs AS entry
LEFT JOIN procrastinate_workers AS worker ON worker.id = entry.worker_id
WHERE entry.status = 'doing'
    AND (worker.last_heartbeat IS NULL OR worker.last_heartbeat < now() - make_interval(secs => %(lease_s)s))
    AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.entry = entry.id AND jobs.state = 'running')
ORDER BY entry.id;

-- name: missing_turns  where more jobs are queued than turns are to come
SELECT waiting.organisation, waiting.priority_class, waiting.jobs - coalesce(coming.turns, 0) AS missing
FROM (
    SELECT organisation, priority_class, count(*) AS jobs FROM jobs WHERE state = 'queued' GROUP BY organisation, priority_class
) AS waiting
LEFT JOIN (
    SELECT args ->> 'organisation' AS organisation, split_part(queue_name, '.', 1) AS priority_class, count(*) AS turns
    FROM procrastinate_jobs AS entry
    WHERE status IN ('todo', 'doing') AND task_name = %(turn)s
        AND NOT EXISTS (SELECT 1 FROM jobs WHERE jobs.entry = entry.id AND jobs.state = 'running')
    GROUP BY 1, 2
) AS coming USING (organisation, priority_class)
WHERE waiting.jobs > coalesce(coming.turns, 0)
ORDER BY waiting.organisation, waiting.priority_class;

-- name: delete_ended_entries  an entry without events has nothing that says when it ended, and nothing refers to it
DELETE FROM procrastinate_jobs
WHERE id IN (
    SELECT entry.id FROM procrastinate_jobs AS entry
    WHERE entry.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
      AND NOT EXISTS (
          SELECT FROM procrastinate_events AS event
          WHERE event.job_id = entry.id AND event.at >= now() - make_interval(secs => %(older_than_s)s))
      AND NOT EXISTS (SELECT FROM jobs WHERE jobs.entry = entry.id AND jobs.state = 'running')
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED);
