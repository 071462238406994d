-- name: state  false: there is no key at all
SELECT version, EXISTS (SELECT FROM api_keys) FROM access_version;

-- name: keys  changed since the version
SELECT hash, id, organisation, scopes, models, stores, expires_at, requests_per_minute, tokens_per_minute,
    revoked_at IS NOT NULL
FROM api_keys WHERE version > %(version)s;

-- name: organisations  changed since the version
SELECT id, deleted_at IS NOT NULL, weight, requests_per_minute, tokens_per_minute,
    EXISTS (SELECT FROM budgets WHERE organisation = organisations.id AND stop_at IS NOT NULL)
FROM organisations WHERE version > %(version)s;

-- name: used  at most once a minute for each key, whatever the number of replicas
UPDATE api_keys SET last_used_at = %(at)s
WHERE organisation = %(organisation)s AND id = %(id)s
    AND (last_used_at IS NULL OR last_used_at <= %(at)s - interval '1 minute');
