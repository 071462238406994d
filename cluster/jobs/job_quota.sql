-- name: limits  of the organisation and of the key that asks for the job; no row: neither has a limit
SELECT organisation.jobs_limit, key.jobs_limit
FROM organisations AS organisation
LEFT JOIN api_keys AS key ON key.organisation = organisation.id AND key.id = %(key)s
WHERE organisation.id = %(organisation)s AND (organisation.jobs_limit > 0 OR key.jobs_limit > 0);

-- name: lock_unfinished  requests that add jobs to a limited organisation run one after the other
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/jobs', 0));

-- name: unfinished  of the organisation, and of the key
SELECT count(*), count(*) FILTER (WHERE key = %(key)s)
FROM (
    SELECT key FROM jobs WHERE organisation = %(organisation)s AND state = 'queued'
    UNION ALL
    SELECT key FROM jobs WHERE organisation = %(organisation)s AND state = 'running'
) AS unfinished;
