-- name: record
INSERT INTO audit_events (organisation, id, type, target, actor_kind, actor, address, request, details)
VALUES (%(organisation)s, %(id)s, %(type)s, %(target)s, %(actor_kind)s, %(actor)s, %(address)s, %(request)s,
    %(details)s);

-- name: newest
SELECT {columns}
FROM audit_events
WHERE organisation = %(organisation)s
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(target)s::text IS NULL OR target = %(target)s)
    AND (at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns}
FROM audit_events
WHERE organisation = %(organisation)s
    AND (%(type)s::text IS NULL OR type = %(type)s)
    AND (%(actor)s::text IS NULL OR actor = %(actor)s)
    AND (%(target)s::text IS NULL OR target = %(target)s)
    AND (at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY at, id
LIMIT %(limit)s;

-- name: places
SELECT at, at FROM audit_events WHERE organisation = %(organisation)s AND id = %(id)s;
