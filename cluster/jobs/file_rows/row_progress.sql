-- name: get
SELECT position, counts FROM bulk_inserts WHERE organisation = %(organisation)s AND job = %(job)s;

-- name: commit_later  the job's end is on the disk only with all commits before it; a crash before loses the rows with their standing
SET LOCAL synchronous_commit = off;

-- name: save
INSERT INTO bulk_inserts (organisation, job, position, counts)
VALUES (%(organisation)s, %(job)s, %(position)s, %(counts)s)
ON CONFLICT (organisation, job) DO UPDATE SET position = excluded.position, counts = excluded.counts;

-- name: add_faults
INSERT INTO bulk_insert_faults (organisation, job, position, lines)
VALUES (%(organisation)s, %(job)s, %(position)s, %(lines)s);

-- name: next_faults
SELECT position, lines FROM bulk_insert_faults
WHERE organisation = %(organisation)s AND job = %(job)s AND position > %(after)s
ORDER BY position LIMIT 1;

-- name: delete
DELETE FROM bulk_inserts WHERE organisation = %(organisation)s AND job = %(job)s;

-- name: delete_faults
DELETE FROM bulk_insert_faults WHERE organisation = %(organisation)s AND job = %(job)s;
