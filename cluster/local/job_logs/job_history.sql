-- name: job_of_all  ids of jobs are random, so one id is a job of one organisation
SELECT organisation, kind, state, traceparent FROM jobs WHERE id = %(id)s LIMIT 1;

-- name: events
SELECT at, type, data FROM job_events
WHERE organisation = %(organisation)s AND job = %(id)s AND type IS DISTINCT FROM %(left_out)s
ORDER BY id;

-- name: ends  of attempts and of stages
SELECT 'attempt' AS what, ended_at AS at, attempt, NULL AS stage, worker, outcome, error FROM job_attempts
WHERE organisation = %(organisation)s AND job = %(id)s AND ended_at IS NOT NULL
UNION ALL
SELECT 'stage', ended_at, attempt, stage, NULL, NULL, error FROM job_stages
WHERE organisation = %(organisation)s AND job = %(id)s AND ended_at IS NOT NULL
ORDER BY at;
