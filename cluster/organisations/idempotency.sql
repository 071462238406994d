-- name: lock  who sends a key again waits until the first has its answer
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/idempotency/' || %(key)s, 0));

-- name: answered
SELECT request, answer
FROM idempotency_keys
WHERE organisation = %(organisation)s AND key = %(key)s AND created_at > now() - make_interval(secs => %(lifetime_s)s);

-- name: remember  over what has expired and was not yet forgotten
INSERT INTO idempotency_keys (organisation, key, request, status, answer)
VALUES (%(organisation)s, %(key)s, %(request)s, 200, %(answer)s)
ON CONFLICT (organisation, key) DO UPDATE
SET request = EXCLUDED.request, status = EXCLUDED.status, answer = EXCLUDED.answer, created_at = now();

-- name: forget_of_all  upkeep's, for every organisation
DELETE FROM idempotency_keys WHERE created_at <= now() - make_interval(secs => %(lifetime_s)s);
