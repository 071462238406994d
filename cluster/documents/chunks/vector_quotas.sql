-- name: list_of_all
SELECT organisation, key, vectors FROM vector_quotas ORDER BY organisation, key;

-- name: chunk_tables_of_all
SELECT name FROM vector_collections WHERE to_regclass('vectors_' || name) IS NOT NULL ORDER BY name;

-- name: count  the table is named in place of {table}
SELECT count(*) FROM {table}
WHERE organisation = %(organisation)s AND (%(key)s = '' OR vector_store IN (
    SELECT id FROM vector_stores WHERE organisation = %(organisation)s AND key = %(key)s));

-- name: recount  removes the count and makes a new one, in one transaction
SELECT set_vector_quota(organisation, key, NULL), set_vector_quota(organisation, key, vectors_limit)
FROM vector_quotas WHERE organisation = %(organisation)s AND key = %(key)s;
