-- name: indexed_here  collections with stores whose vectors are in our Postgres, if no job loads many rows into them
SELECT collection.name FROM vector_collections AS collection
WHERE to_regclass('vectors_' || collection.name) IS NOT NULL
  AND EXISTS (
    SELECT FROM vector_stores AS store
    WHERE store.collection = collection.name AND store.index = %(index)s AND store.deleted_at IS NULL)
  AND NOT EXISTS (
    SELECT FROM jobs AS load JOIN vector_stores AS loaded ON loaded.organisation = load.organisation AND loaded.id = load.subject
    WHERE load.state = 'running' AND load.kind = ANY(%(loads)s) AND loaded.collection = collection.name)
ORDER BY collection.name;
