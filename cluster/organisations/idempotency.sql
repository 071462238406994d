-- name: lock  a repeated request waits until the first one has its answer
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/idempotency/' || %(key)s, 0));

-- name: answered
SELECT request, answer
FROM idempotency_keys
WHERE organisation = %(organisation)s AND key = %(key)s
    AND created_at > now() - make_interval(secs => %(lifetime_s)s);

-- name: remember  replaces an answer that has expired and is not yet deleted
INSERT INTO idempotency_keys (organisation, key, request, status, answer)
VALUES (%(organisation)s, %(key)s, %(request)s, 200, %(answer)s)
ON CONFLICT (organisation, key) DO UPDATE
SET request = EXCLUDED.request, status = EXCLUDED.status, answer = EXCLUDED.answer, created_at = now();

-- name: forget_of_all  for retention, of every organisation
DELETE FROM idempotency_keys WHERE created_at <= now() - make_interval(secs => %(lifetime_s)s);
