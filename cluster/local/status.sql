-- The counts that `make status` shows.

-- name: stores
SELECT store.organisation,
       store.name,
       store.id,
       count(document.id) FILTER (WHERE document.content_hash IS NOT NULL) AS documents,
       count(document.id) FILTER (WHERE document.outcome <> ALL (%(searchable)s)) AS not_indexed,
       coalesce(sum(document.chunks), 0)::bigint AS chunks,
       coalesce(sum(document.tokens), 0)::bigint AS tokens
FROM vector_stores AS store
LEFT JOIN documents AS document ON (document.organisation, document.vector_store) = (store.organisation, store.id)
WHERE store.deleted_at IS NULL AND (store.expires_at IS NULL OR store.expires_at > now())
GROUP BY store.organisation, store.name, store.id, store.created_at
ORDER BY store.organisation, store.created_at;

-- name: database_bytes
SELECT pg_database_size(current_database());
