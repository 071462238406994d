-- name: usage  counts attached files; bytes of ingested documents are added
SELECT vector_store, status, count(*) AS files, sum(usage_bytes)::bigint AS bytes
FROM vector_store_files
WHERE organisation = %(organisation)s AND vector_store = ANY(%(ids)s)
GROUP BY vector_store, status
UNION ALL
SELECT vector_store, NULL, 0, coalesce(sum(bytes), 0)::bigint
FROM documents
WHERE organisation = %(organisation)s AND vector_store = ANY(%(ids)s) AND source NOT LIKE 'file-%%'
GROUP BY vector_store;
