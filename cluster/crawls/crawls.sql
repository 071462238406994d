-- name: insert
INSERT INTO crawls (organisation, id, job, url, vector_store, options)
VALUES (%(organisation)s, %(id)s, %(job)s, %(url)s, %(vector_store)s, %(options)s);

-- name: get
SELECT {columns} FROM crawls JOIN jobs ON (jobs.organisation, jobs.id) = (crawls.organisation, crawls.job)
WHERE crawls.organisation = %(organisation)s AND crawls.id = %(id)s;

-- name: newest
SELECT {columns} FROM crawls JOIN jobs ON (jobs.organisation, jobs.id) = (crawls.organisation, crawls.job)
WHERE crawls.organisation = %(organisation)s
    AND (crawls.created_at, crawls.id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (crawls.created_at, crawls.id) > (%(to_at)s::timestamptz, %(to_id)s)
    AND (%(vector_store)s::text IS NULL OR crawls.vector_store = %(vector_store)s)
    AND (%(only)s::text[] IS NULL OR crawls.vector_store = ANY(%(only)s))
ORDER BY crawls.created_at DESC, crawls.id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM crawls JOIN jobs ON (jobs.organisation, jobs.id) = (crawls.organisation, crawls.job)
WHERE crawls.organisation = %(organisation)s
    AND (crawls.created_at, crawls.id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (crawls.created_at, crawls.id) < (%(to_at)s::timestamptz, %(to_id)s)
    AND (%(vector_store)s::text IS NULL OR crawls.vector_store = %(vector_store)s)
    AND (%(only)s::text[] IS NULL OR crawls.vector_store = ANY(%(only)s))
ORDER BY crawls.created_at, crawls.id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM crawls WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: outcomes  of several crawls; waiting pages have no outcome
SELECT crawl, outcome, count(*)::int FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = ANY(%(crawls)s)
GROUP BY crawl, outcome ORDER BY crawl, outcome;

-- name: newest_pages
SELECT {page_columns} FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s
    AND (found_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (found_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
ORDER BY found_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest_pages
SELECT {page_columns} FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s
    AND (found_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (found_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
    AND (%(outcome)s::text IS NULL OR outcome = %(outcome)s)
ORDER BY found_at, id
LIMIT %(limit)s;

-- name: page_places
SELECT min(found_at), max(found_at) FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND id = %(id)s;
