-- name: record
SELECT record_webhook_event(%(organisation)s, %(type)s, %(data)s);

-- name: get
SELECT {columns} FROM {tables}
WHERE delivery.organisation = %(organisation)s AND delivery.endpoint = %(endpoint)s AND delivery.event = %(id)s;

-- name: newest
SELECT {columns} FROM {tables}
WHERE delivery.organisation = %(organisation)s AND delivery.endpoint = %(endpoint)s
  AND (delivery.created_at, delivery.event) < (%(from_at)s::timestamptz, %(from_id)s)
  AND (delivery.created_at, delivery.event) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY delivery.created_at DESC, delivery.event DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM {tables}
WHERE delivery.organisation = %(organisation)s AND delivery.endpoint = %(endpoint)s
  AND (delivery.created_at, delivery.event) > (%(from_at)s::timestamptz, %(from_id)s)
  AND (delivery.created_at, delivery.event) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY delivery.created_at, delivery.event
LIMIT %(limit)s;

-- name: places
SELECT min(created_at), max(created_at) FROM webhook_deliveries
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND event = %(id)s;

-- name: redeliver
UPDATE webhook_deliveries SET state = 'pending', since = now(), due_at = now(), holder = NULL, attempts = 0, ended_at = NULL
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND event = %(id)s
  AND (holder IS NULL OR due_at <= now());
