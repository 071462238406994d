-- name: lock  requests that change the number of endpoints of one organisation wait for each other
SELECT pg_advisory_xact_lock(hashtextextended('webhook endpoints of ' || %(organisation)s, 0));

-- name: count
SELECT count(*) FROM webhook_endpoints WHERE organisation = %(organisation)s;

-- name: with_url
SELECT id FROM webhook_endpoints WHERE organisation = %(organisation)s AND url = %(url)s AND id <> %(id)s;

-- name: insert
INSERT INTO webhook_endpoints (organisation, id, url, name, event_types, enabled)
VALUES (%(organisation)s, %(id)s, %(url)s, %(name)s, %(event_types)s, %(enabled)s);

-- name: get
SELECT {columns} FROM webhook_endpoints AS endpoint {with_secret}
WHERE endpoint.organisation = %(organisation)s AND endpoint.id = %(id)s;

-- name: lock_one
SELECT {columns} FROM webhook_endpoints AS endpoint {with_secret}
WHERE endpoint.organisation = %(organisation)s AND endpoint.id = %(id)s
FOR NO KEY UPDATE OF endpoint;

-- name: newest
SELECT {columns} FROM webhook_endpoints AS endpoint {with_secret}
WHERE endpoint.organisation = %(organisation)s
  AND (endpoint.created_at, endpoint.id) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (endpoint.created_at, endpoint.id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY endpoint.created_at DESC, endpoint.id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM webhook_endpoints AS endpoint {with_secret}
WHERE endpoint.organisation = %(organisation)s
  AND (endpoint.created_at, endpoint.id) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (endpoint.created_at, endpoint.id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY endpoint.created_at, endpoint.id
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM webhook_endpoints
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: update  a changed endpoint is as good as a new one: its failures are forgotten
UPDATE webhook_endpoints SET url = %(url)s, name = %(name)s, event_types = %(event_types)s, enabled = %(enabled)s,
    disabled_reason = NULL, failures = 0, failing_since = NULL, updated_at = now()
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: secret_changed
UPDATE webhook_endpoints SET updated_at = now() WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: pause_deliveries  no attempt is due while the endpoint is disabled
UPDATE webhook_deliveries SET due_at = 'infinity'
WHERE organisation = %(organisation)s AND endpoint = %(id)s AND state = 'pending' AND holder IS NULL;

-- name: resume_deliveries
UPDATE webhook_deliveries SET due_at = now()
WHERE organisation = %(organisation)s AND endpoint = %(id)s AND state = 'pending' AND holder IS NULL;

-- name: delete
DELETE FROM webhook_endpoints WHERE organisation = %(organisation)s AND id = %(id)s;
