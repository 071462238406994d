-- name: indexed_here  collections with stores whose vectors are in our Postgres, unless a job loads many rows
SELECT collection.name FROM vector_collections AS collection
WHERE to_regclass('vectors_' || collection.name) IS NOT NULL
  AND EXISTS (
    SELECT FROM vector_stores AS store
    WHERE store.collection = collection.name AND store.index = %(index)s AND store.deleted_at IS NULL)
  AND NOT EXISTS (SELECT FROM jobs WHERE state = 'running' AND kind = ANY(%(loads)s))
ORDER BY collection.name;
