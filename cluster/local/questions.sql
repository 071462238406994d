-- What the demo asks about when the documents are somebody's own.

-- name: keywords
SELECT keyword
FROM (
    SELECT DISTINCT ON (lower(document.keywords[1])) document.keywords[1] AS keyword, document.source AS source
    FROM documents AS document
    JOIN vector_stores AS store ON (store.organisation, store.id) = (document.organisation, document.vector_store)
    WHERE document.organisation = %(organisation)s AND store.name = %(store)s AND document.chunks > 0 AND document.keywords <> '{}'
    ORDER BY lower(document.keywords[1]), document.source
) AS first_keywords
ORDER BY source
LIMIT 3
