-- name: add  returns the number of new URLs
WITH added AS (
    INSERT INTO crawl_pages (organisation, crawl, id, url, depth, hops, found_on)
    SELECT %(organisation)s, %(crawl)s, new.id, new.url, new.depth, new.hops, new.found_on
    FROM unnest(%(ids)s::text[], %(urls)s::text[], %(depths)s::int[], %(hops)s::int[], %(found_on)s::text[])
        AS new (id, url, depth, hops, found_on)
    ORDER BY new.id
    ON CONFLICT (organisation, crawl, id) DO NOTHING
    RETURNING id
)
SELECT count(*)::int FROM added;

-- name: count  all URLs, those that were requested, and those with an outcome
SELECT count(*)::int, count(*) FILTER (WHERE attempts > 0)::int, count(outcome)::int FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s;

-- name: next  the frontier in the order of discovery
SELECT id, url, depth, hops, found_on, attempts, greatest(0, extract(epoch FROM not_before - now()))::float8 AS wait_s
FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND outcome IS NULL AND id <> ALL(%(taken)s)
ORDER BY depth, found_at, id
LIMIT %(limit)s;

-- name: record
UPDATE crawl_pages SET outcome = %(outcome)s, detail = %(detail)s, status = %(status)s, media_type = %(media_type)s,
    bytes = %(bytes)s, sha256 = %(sha256)s, title = %(title)s, file = %(file)s,
    attempts = attempts + %(requests)s, not_before = NULL,
    fetched_at = CASE WHEN %(requests)s > 0 THEN now() ELSE fetched_at END
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND id = %(id)s AND outcome IS NULL;

-- name: later  the page waits for another attempt
UPDATE crawl_pages SET attempts = attempts + 1, not_before = now() + make_interval(secs => %(wait_s)s), detail = %(detail)s,
    status = %(status)s
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND id = %(id)s AND outcome IS NULL;

-- name: stop  what waits when the crawl ends
UPDATE crawl_pages SET outcome = %(outcome)s, detail = %(detail)s, not_before = NULL
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND outcome IS NULL;

-- name: same_content  another page of the crawl with these bytes
SELECT url FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND sha256 = %(sha256)s AND id <> %(id)s
    AND outcome = ANY(%(outcomes)s)
LIMIT 1;

-- name: outcome
SELECT outcome FROM crawl_pages WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND id = %(id)s;

-- name: origin
SELECT rules FROM crawl_origins WHERE organisation = %(organisation)s AND crawl = %(crawl)s AND origin = %(origin)s;

-- name: save_origin
INSERT INTO crawl_origins (organisation, crawl, origin, rules)
VALUES (%(organisation)s, %(crawl)s, %(origin)s, %(rules)s)
ON CONFLICT (organisation, crawl, origin) DO NOTHING;

-- name: state  counts of ignored links are added to those that are stored
UPDATE crawls SET state = state || %(state)s::jsonb || jsonb_build_object('ignored', coalesce((
    SELECT jsonb_object_agg(reason, number) FROM (
        SELECT reason, sum(number::int) AS number FROM (
            SELECT * FROM jsonb_each_text(coalesce(state -> 'ignored', '{}'))
            UNION ALL SELECT * FROM jsonb_each_text(%(ignored)s::jsonb)) AS one (reason, number)
        GROUP BY reason) AS summed), '{}'))
WHERE organisation = %(organisation)s AND id = %(crawl)s;

-- name: earlier  the last crawl of the same website into the same store that found its URLs with the same options
SELECT id FROM crawls
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id <> %(crawl)s
    AND options - %(other_options)s::text[] = %(options)s::jsonb - %(other_options)s::text[]
ORDER BY created_at DESC, id DESC
LIMIT 1;

-- name: add_earlier  the URLs that the earlier crawl found
INSERT INTO crawl_pages (organisation, crawl, id, url, depth, found_on)
SELECT organisation, %(crawl)s, id, url, depth, found_on FROM crawl_pages
WHERE organisation = %(organisation)s AND crawl = %(earlier)s AND hops = 0
ORDER BY id
ON CONFLICT (organisation, crawl, id) DO NOTHING;
