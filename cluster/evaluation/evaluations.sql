-- name: newest
SELECT id, name, digest, measures, created_at FROM agent_evaluations
WHERE organisation = %(organisation)s AND digest = %(digest)s
ORDER BY created_at DESC, id
LIMIT 1;

-- name: save
INSERT INTO agent_evaluations (organisation, id, name, digest, measures)
VALUES (%(organisation)s, %(id)s, %(name)s, %(digest)s, %(measures)s)
RETURNING id, name, digest, measures, created_at;

-- name: forget_old
DELETE FROM agent_evaluations
WHERE organisation = %(organisation)s AND id IN (
    SELECT id FROM agent_evaluations
    WHERE organisation = %(organisation)s AND digest = %(digest)s
    ORDER BY created_at DESC, id
    OFFSET %(kept)s);
