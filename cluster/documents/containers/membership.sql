-- name: lock  transactions that add, attach, detach or delete entries of containers run one after the other
SELECT pg_advisory_xact_lock(hashtextextended(%(organisation)s || '/entries', 0));

-- name: is_container
SELECT EXISTS (SELECT FROM containers WHERE organisation = %(organisation)s AND file = %(file)s)
    OR EXISTS (SELECT FROM container_entries WHERE organisation = %(organisation)s AND container = %(file)s);

-- name: unshared  entries that no other container has
SELECT entry.file FROM container_entries AS entry
WHERE entry.organisation = %(organisation)s AND entry.container = %(file)s AND entry.file IS NOT NULL
    AND NOT EXISTS (SELECT FROM container_entries AS other
        WHERE (other.organisation, other.file) = (entry.organisation, entry.file) AND other.container <> entry.container)
ORDER BY entry.file;

-- name: left_in_store  attached entries of a container, if no attached container of the store has them
SELECT entry.file FROM container_entries AS entry
JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = %(vector_store)s AND attached.file = entry.file
WHERE entry.organisation = %(organisation)s AND entry.container = %(file)s
    AND NOT EXISTS (SELECT FROM container_entries AS other
        JOIN vector_store_files AS holder ON holder.organisation = other.organisation
            AND holder.vector_store = attached.vector_store AND holder.file = other.container
        WHERE (other.organisation, other.file) = (entry.organisation, entry.file))
ORDER BY entry.file;

-- name: in_store  attached entries of a container
SELECT entry.file FROM container_entries AS entry
JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = %(vector_store)s AND attached.file = entry.file
WHERE entry.organisation = %(organisation)s AND entry.container = %(file)s
ORDER BY entry.file;
