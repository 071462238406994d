-- name: insert  an organisation's first store makes the organisation
WITH owner AS (
    INSERT INTO organisations (id, name) VALUES (%(organisation)s, %(organisation)s)
    ON CONFLICT (id) DO NOTHING
)
INSERT INTO vector_stores (organisation, id, name, collection, fingerprint_id, fingerprint)
VALUES (%(organisation)s, %(id)s, %(name)s, %(collection)s, %(fingerprint_id)s, %(fingerprint)s)
ON CONFLICT (organisation, id) DO NOTHING;

-- name: find  an id is unique, a name need not be: the oldest store of the name wins
SELECT organisation, id, name, collection, fingerprint, created_at
FROM vector_stores
WHERE organisation = %(organisation)s AND (id = %(id_or_name)s OR name = %(id_or_name)s)
ORDER BY (id = %(id_or_name)s) DESC, created_at, id
LIMIT 1;

-- name: list
SELECT organisation, id, name, collection, fingerprint, created_at
FROM vector_stores
WHERE organisation = %(organisation)s
ORDER BY created_at, id;

-- name: delete
DELETE FROM vector_stores WHERE organisation = %(organisation)s AND id = %(id)s;
