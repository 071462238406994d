-- name: find_versioned
SELECT found.*, version.changes, version.unchanged_s, ARRAY(
    SELECT configuration FROM vector_store_text_configurations AS of_chunks
    WHERE of_chunks.organisation = found.organisation AND of_chunks.vector_store = found.id
) AS text_configurations
FROM ({find}) AS found
CROSS JOIN LATERAL (
    SELECT coalesce(sum(changes), 0)::bigint AS changes,
        coalesce(extract(epoch FROM clock_timestamp() - max(changed_at)), 'infinity')::float8 AS unchanged_s
    FROM vector_store_changes AS counted
    WHERE counted.organisation = found.organisation AND counted.vector_store = found.id
) AS version;
