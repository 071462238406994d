-- Statements whose name ends in _of_all are for the sender. They read all organisations and return each one.

-- name: any_due_of_all
SELECT FROM webhook_deliveries WHERE state = 'pending' AND due_at <= now() LIMIT 1;

-- name: job_is_open  or another process submits one now
SELECT FROM jobs WHERE organisation = %(organisation)s AND kind = %(kind)s AND state IN ('queued', 'running')
UNION ALL
SELECT WHERE NOT pg_try_advisory_xact_lock(hashtextextended('webhook deliveries of ' || %(organisation)s, 0));

-- name: claim_of_all  of the deliveries that are due, those of the organisations and endpoints with the fewest attempts in flight come first
WITH busy AS (
    SELECT organisation, endpoint, count(*) AS count FROM webhook_deliveries
    WHERE state = 'pending' AND holder IS NOT NULL AND due_at > now()
    GROUP BY organisation, endpoint
), owner AS (
    SELECT organisation, sum(count) AS count FROM busy GROUP BY organisation
), ready AS (
    SELECT endpoint.organisation, endpoint.id, coalesce(busy.count, 0) AS busy, coalesce(owner.count, 0) AS busy_of_owner,
        CASE WHEN endpoint.failures > 0 THEN 1 ELSE %(per_endpoint)s END AS room
    FROM webhook_endpoints AS endpoint
    LEFT JOIN busy ON (busy.organisation, busy.endpoint) = (endpoint.organisation, endpoint.id)
    LEFT JOIN owner ON owner.organisation = endpoint.organisation
    WHERE endpoint.enabled
      AND NOT EXISTS (SELECT FROM organisations WHERE id = endpoint.organisation AND deleted_at IS NOT NULL)
      AND coalesce(busy.count, 0) < CASE WHEN endpoint.failures > 0 THEN 1 ELSE %(per_endpoint)s END
      AND coalesce(owner.count, 0) < %(per_organisation)s
      AND EXISTS (
        SELECT FROM webhook_deliveries AS due
        WHERE (due.organisation, due.endpoint) = (endpoint.organisation, endpoint.id)
          AND due.state = 'pending' AND due.due_at <= now())
    ORDER BY coalesce(owner.count, 0), random()
    LIMIT %(max_endpoints)s
    FOR NO KEY UPDATE OF endpoint SKIP LOCKED
), due AS (
    SELECT ready.organisation, ready.busy_of_owner, next.endpoint, next.event, next.due_at,
        ready.busy + row_number() OVER (PARTITION BY ready.organisation, next.endpoint ORDER BY next.due_at, next.event) AS place
    FROM ready CROSS JOIN LATERAL (
        SELECT endpoint, event, due_at FROM webhook_deliveries
        WHERE organisation = ready.organisation AND endpoint = ready.id AND state = 'pending' AND due_at <= now()
        ORDER BY due_at LIMIT ready.room - ready.busy
    ) AS next
), placed AS (
    SELECT due.*, busy_of_owner
        + row_number() OVER (PARTITION BY organisation ORDER BY place, due_at, event) AS place_in_organisation
    FROM due
), taken AS (
    SELECT organisation, endpoint, event FROM placed
    WHERE place_in_organisation <= %(per_organisation)s
    ORDER BY place_in_organisation, due_at LIMIT %(limit)s
), held AS (
    UPDATE webhook_deliveries AS delivery SET holder = %(holder)s, attempts = attempts + 1, last_attempt_at = now(),
        due_at = now() + make_interval(secs => %(lease_s)s)
    FROM taken
    WHERE (delivery.organisation, delivery.endpoint, delivery.event) = (taken.organisation, taken.endpoint, taken.event)
      AND delivery.state = 'pending' AND delivery.due_at <= now()
    RETURNING delivery.organisation, delivery.endpoint, delivery.event, delivery.attempts
)
SELECT held.organisation, held.endpoint, held.event, held.attempts, endpoint.url, event.type, event.data, event.created_at
FROM held
JOIN webhook_endpoints AS endpoint ON (endpoint.organisation, endpoint.id) = (held.organisation, held.endpoint)
JOIN webhook_events AS event ON (event.organisation, event.id) = (held.organisation, held.event);

-- name: endpoint_works
UPDATE webhook_endpoints SET failures = 0, failing_since = NULL
WHERE organisation = %(organisation)s AND id = %(endpoint)s AND failures > 0;

-- name: endpoint_fails  every transaction locks an endpoint before its deliveries
UPDATE webhook_endpoints SET failures = failures + 1, failing_since = coalesce(failing_since, now())
WHERE organisation = %(organisation)s AND id = %(endpoint)s
RETURNING enabled, failures, extract(epoch FROM now() - failing_since)::float8;

-- name: is_enabled
SELECT enabled FROM webhook_endpoints WHERE organisation = %(organisation)s AND id = %(endpoint)s;

-- name: pause_deliveries  no attempt is due while the endpoint is disabled
UPDATE webhook_deliveries SET due_at = 'infinity'
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND state = 'pending' AND holder IS NULL;

-- name: end_attempt  no row if the lease was lost, or the delivery deleted
UPDATE webhook_deliveries SET holder = NULL, response_status = %(response_status)s, error = %(error)s,
    state = CASE WHEN %(succeeded)s THEN 'succeeded'
        WHEN now() + make_interval(secs => %(wait_s)s) > since + make_interval(secs => %(deadline_s)s) THEN 'failed'
        ELSE 'pending' END,
    ended_at = CASE WHEN %(succeeded)s
        OR now() + make_interval(secs => %(wait_s)s) > since + make_interval(secs => %(deadline_s)s) THEN now() END,
    due_at = CASE WHEN %(enabled)s THEN now() + make_interval(secs => %(wait_s)s) ELSE 'infinity' END
WHERE organisation = %(organisation)s AND endpoint = %(endpoint)s AND event = %(event)s
  AND state = 'pending' AND holder = %(holder)s
RETURNING state;

-- name: disable_endpoint
UPDATE webhook_endpoints SET enabled = false, disabled_reason = %(reason)s, updated_at = now()
WHERE organisation = %(organisation)s AND id = %(endpoint)s;

-- name: end_overdue_of_all  deliveries that were not attempted in time, such as those of a disabled endpoint
UPDATE webhook_deliveries SET state = 'failed', ended_at = now(), holder = NULL, due_at = now(),
    error = coalesce(error, 'the endpoint was disabled or too slow until the deadline')
WHERE (organisation, endpoint, event) IN (
    SELECT organisation, endpoint, event FROM webhook_deliveries
    WHERE state = 'pending' AND since < now() - make_interval(secs => %(deadline_s)s)
      AND (holder IS NULL OR due_at <= now())
    LIMIT %(limit)s
    FOR UPDATE SKIP LOCKED);

-- name: delete_old_of_all
DELETE FROM webhook_deliveries WHERE (organisation, endpoint, event) IN (
    SELECT organisation, endpoint, event FROM webhook_deliveries
    WHERE ended_at < now() - make_interval(secs => %(older_than_s)s)
    LIMIT %(limit)s);

-- name: delete_unsent_of_all  events without a delivery; those of a transaction that is still open are not seen
DELETE FROM webhook_events AS event
WHERE event.created_at < now() - make_interval(secs => %(older_than_s)s) AND NOT EXISTS (
    SELECT FROM webhook_deliveries AS delivery
    WHERE (delivery.organisation, delivery.event) = (event.organisation, event.id));
