-- name: newest
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s
  AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
  AND {chosen}
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM jobs
WHERE organisation = %(organisation)s
  AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
  AND {chosen}
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM jobs WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: dead_letters  what failed first is queued again first; nobody else does it meanwhile
SELECT id FROM jobs
WHERE organisation = %(organisation)s AND state = 'failed' AND kind <> ALL(%(not_retryable)s) AND {chosen}
ORDER BY finished_at, id
LIMIT %(limit)s
FOR UPDATE SKIP LOCKED;

-- name: stages
SELECT stage AS name, attempt, tries, done, total, unit, started_at, ended_at, error FROM job_stages
WHERE organisation = %(organisation)s AND job = %(id)s
ORDER BY attempt, started_at, stage;

-- name: attempts
SELECT attempt AS number, worker, started_at, ended_at, outcome, error FROM job_attempts
WHERE organisation = %(organisation)s AND job = %(id)s
ORDER BY attempt;

-- name: line  who stands before a queued job: only its own organisation's, for each organisation stands in a line of its own
SELECT (SELECT count(*) FROM jobs AS ahead
        WHERE ahead.organisation = job.organisation AND ahead.priority_class = job.priority_class AND ahead.state = 'queued'
          AND (ahead.retry_at IS NULL OR ahead.retry_at <= now())
          AND (ahead.priority > job.priority
               OR ahead.priority = job.priority AND (ahead.created_at, ahead.id) < (job.created_at, job.id))) AS ahead,
       (SELECT count(*) FROM jobs AS running
        WHERE running.state = 'running' AND NOT running.by_command
          AND running.organisation = job.organisation AND running.priority_class = job.priority_class) AS running,
       (SELECT concurrency_limit FROM organisations WHERE organisations.id = job.organisation) AS concurrency_limit
FROM jobs AS job
WHERE job.organisation = %(organisation)s AND job.id = %(id)s;

-- name: events  of many jobs at once: of each, what came after an event, and whether there will be more
SELECT asked.organisation, asked.job, asked.after, jobs.state, event.id, event.at, event.type, event.data
FROM unnest(%(organisation)s::text[], %(jobs)s::text[], %(afters)s::bigint[]) AS asked (organisation, job, after)
JOIN jobs ON jobs.organisation = asked.organisation AND jobs.id = asked.job
LEFT JOIN LATERAL (
    SELECT job_events.id, at, type, data FROM job_events
    WHERE job_events.organisation = asked.organisation AND job_events.job = asked.job AND job_events.id > asked.after
    ORDER BY job_events.id
    LIMIT %(limit)s
) AS event ON true
ORDER BY asked.organisation, asked.job, asked.after, event.id;
