-- name: get  with the state of the file in the store
SELECT {columns} FROM site_pages
JOIN files ON (files.organisation, files.id) = (site_pages.organisation, site_pages.file)
LEFT JOIN vector_store_files AS attached ON (attached.organisation, attached.vector_store, attached.file)
    = (site_pages.organisation, site_pages.vector_store, site_pages.file)
WHERE site_pages.organisation = %(organisation)s AND site_pages.vector_store = %(vector_store)s AND site_pages.id = %(id)s;

-- name: urls  of all pages that the store holds
SELECT id, url FROM site_pages WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s ORDER BY id;

-- name: same_content  another page with these bytes, which the last crawl that asked for it has found
SELECT url FROM site_pages
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND sha256 = %(sha256)s AND id <> %(id)s AND misses = 0
LIMIT 1;

-- name: save
INSERT INTO site_pages (organisation, vector_store, id, url, file, sha256, etag, last_modified, title, crawl)
VALUES (%(organisation)s, %(vector_store)s, %(id)s, %(url)s, %(file)s, %(sha256)s, %(etag)s, %(last_modified)s,
    %(title)s, %(crawl)s)
ON CONFLICT (organisation, vector_store, id) DO UPDATE SET
    file = excluded.file, sha256 = excluded.sha256, etag = excluded.etag, last_modified = excluded.last_modified,
    title = excluded.title, crawl = excluded.crawl, misses = 0, checked_at = now(),
    changed_at = CASE WHEN site_pages.sha256 = excluded.sha256 THEN site_pages.changed_at ELSE now() END;

-- name: found  the content has not changed
UPDATE site_pages SET misses = 0, crawl = %(crawl)s, checked_at = now()
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = %(id)s;

-- name: missed  once in a crawl
UPDATE site_pages SET misses = misses + 1, crawl = %(crawl)s, checked_at = now()
WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND id = %(id)s AND crawl <> %(crawl)s
RETURNING misses, file;

-- name: files  some files that crawls made for the store
SELECT file FROM site_pages WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s
ORDER BY id LIMIT %(limit)s;

-- name: replace_content
UPDATE files SET filename = %(filename)s, bytes = %(bytes)s, sha256 = %(sha256)s, media_type = %(media_type)s
WHERE organisation = %(organisation)s AND id = %(file)s;

-- name: blocks
SELECT digest FROM site_blocks WHERE organisation = %(organisation)s AND vector_store = %(vector_store)s AND host = %(host)s;

-- name: save_blocks
INSERT INTO site_blocks (organisation, vector_store, host, digest)
SELECT %(organisation)s, %(vector_store)s, %(host)s, digest FROM unnest(%(digests)s::text[]) AS new (digest)
ORDER BY digest
ON CONFLICT DO NOTHING;
