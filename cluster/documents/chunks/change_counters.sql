-- name: uncounted  chunk tables with fewer than the three triggers of migration 0016
SELECT collection.name FROM vector_collections AS collection
WHERE to_regclass('vectors_' || collection.name) IS NOT NULL
  AND 3 > (
    SELECT count(*) FROM pg_trigger
    WHERE tgrelid = to_regclass('vectors_' || collection.name)
      AND tgname IN ('chunks_inserted', 'chunks_updated', 'chunks_deleted'))
ORDER BY collection.name;

-- name: count  writers of the table wait until the transaction ends
SELECT count_changes_of(('vectors_' || %(collection)s)::regclass);

-- name: count_one_change
SELECT vector_store_changed(organisation, id) FROM vector_stores WHERE collection = %(collection)s;
