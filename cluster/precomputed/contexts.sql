-- name: of_key
SELECT versions, question, vector, chunks, seconds FROM precomputed_contexts
WHERE organisation = %(organisation)s AND key = %(key)s
ORDER BY id
LIMIT %(limit)s;

-- name: current_ids
SELECT id FROM precomputed_contexts
WHERE organisation = %(organisation)s AND agent = %(agent)s AND id = ANY (%(ids)s);

-- name: save
INSERT INTO precomputed_contexts (organisation, agent, id, key, versions, question, vector, chunks, seconds)
VALUES (%(organisation)s, %(agent)s, %(id)s, %(key)s, %(versions)s, %(question)s, %(vector)s, %(chunks)s, %(seconds)s)
ON CONFLICT (organisation, agent, id) DO NOTHING;

-- name: forget_if_erased  the job may have read messages of a customer who was erased while it ran
DELETE FROM precomputed_contexts
WHERE organisation = %(organisation)s AND agent = %(agent)s AND question IS NULL AND EXISTS (
    SELECT FROM customer_erasures WHERE organisation = %(organisation)s AND erased_at >= %(since)s);

-- name: keep_only
DELETE FROM precomputed_contexts
WHERE organisation = %(organisation)s AND agent = %(agent)s AND NOT id = ANY (%(ids)s);
