-- name: unfinished_of_all  jobs that wait or run, of all organisations
SELECT kind, priority_class, state, count(*)::bigint FROM jobs WHERE state IN ('queued', 'running')
GROUP BY kind, priority_class, state;

-- name: oldest_of_all  seconds that the oldest job of each class has waited, without jobs above a concurrency limit; {lines} is a statement of jobs.sql
SELECT priority_class, coalesce(extract(epoch FROM now() - min(oldest_permitted)), 0)::float8
FROM ({lines}) AS line
GROUP BY priority_class;

-- name: ended_of_all  jobs that ended lately
SELECT kind, state, count(*)::bigint FROM jobs
WHERE finished_at > now() - make_interval(secs => %(within_s)s)
GROUP BY kind, state;

-- name: attempts_of_all  that ended lately, of jobs that ended lately or have had another attempt and are not finished
SELECT watched.kind, attempt.outcome, count(*)::bigint
FROM (
    SELECT organisation, id, kind FROM jobs WHERE finished_at > now() - make_interval(secs => %(within_s)s)
    UNION ALL
    SELECT organisation, id, kind FROM jobs WHERE state IN ('queued', 'running') AND attempt > 1
) AS watched
JOIN job_attempts AS attempt ON attempt.organisation = watched.organisation AND attempt.job = watched.id
WHERE attempt.ended_at > now() - make_interval(secs => %(within_s)s) AND attempt.outcome IS NOT NULL
GROUP BY watched.kind, attempt.outcome;

-- name: dead_letters_of_all
SELECT kind, count(*)::bigint FROM jobs WHERE state = 'failed' GROUP BY kind;

-- name: stages_of_all  mean seconds of the stages of jobs that ended lately
SELECT jobs.kind, done.stage, avg(extract(epoch FROM done.ended_at - done.started_at))::float8
FROM jobs JOIN job_stages AS done ON done.organisation = jobs.organisation AND done.job = jobs.id
WHERE jobs.finished_at > now() - make_interval(secs => %(within_s)s) AND done.ended_at IS NOT NULL
GROUP BY jobs.kind, done.stage;
