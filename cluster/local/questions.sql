-- Keywords that the demo asks about when it ingests a folder of the user.

-- name: keywords
SELECT word
FROM (
    SELECT DISTINCT ON (lower(keyword.word)) keyword.word, keyword.place, document.source
    FROM documents AS document
    JOIN vector_stores AS store ON (store.organisation, store.id) = (document.organisation, document.vector_store)
    CROSS JOIN unnest(document.keywords) WITH ORDINALITY AS keyword (word, place)
    WHERE document.organisation = %(organisation)s AND store.name = %(store)s AND store.deleted_at IS NULL AND document.chunks > 0
    ORDER BY lower(keyword.word), keyword.place, document.source
) AS found
ORDER BY place, source
LIMIT 3
