-- name: open_jobs  of the entries of these jobs' containers, except entries that another open container of the store has
SELECT attached.job FROM vector_store_files AS container
JOIN container_entries AS entry
    ON (entry.organisation, entry.container) = (container.organisation, container.file)
JOIN vector_store_files AS attached ON attached.organisation = entry.organisation
    AND attached.vector_store = container.vector_store AND attached.file = entry.file
WHERE container.organisation = %(organisation)s AND container.job = ANY(%(jobs)s)
    AND attached.status = 'in_progress'
    AND NOT EXISTS (SELECT FROM container_entries AS other
        JOIN vector_store_files AS holder ON holder.organisation = other.organisation
            AND holder.vector_store = attached.vector_store AND holder.file = other.container
        WHERE (other.organisation, other.file) = (entry.organisation, entry.file)
            AND holder.status = 'in_progress' AND holder.job <> ALL(%(jobs)s))
ORDER BY attached.file
FOR UPDATE OF attached;
