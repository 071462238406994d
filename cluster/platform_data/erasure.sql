-- name: exclude_insertions  waits until every transaction that inserts events has ended
SELECT pg_advisory_xact_lock(hashtextextended('erasures of ' || %(organisation)s, 0));

-- name: known
SELECT EXISTS (SELECT FROM customers WHERE organisation = %(organisation)s AND id = %(customer)s),
    EXISTS (SELECT FROM customer_erasures WHERE organisation = %(organisation)s AND id = %(customer)s);

-- name: remember
WITH conversation AS (
    SELECT id FROM conversations WHERE organisation = %(organisation)s AND customer = %(customer)s
), fact AS (
    SELECT min(occurred_at) AS first_at, max(occurred_at) AS last_at FROM customer_events
    WHERE organisation = %(organisation)s
        AND (customer = %(customer)s OR conversation IN (SELECT id FROM conversation))
)
INSERT INTO customer_erasures AS known (organisation, id, customer, erased_at, first_occurred_at, last_occurred_at)
SELECT %(organisation)s, erased.id, %(customer)s, clock_timestamp(), fact.first_at, fact.last_at
FROM (SELECT %(customer)s::text AS id UNION SELECT id FROM conversation) AS erased, fact
ON CONFLICT (organisation, id) DO UPDATE SET customer = excluded.customer, erased_at = excluded.erased_at,
    first_occurred_at = least(known.first_occurred_at, excluded.first_occurred_at),
    last_occurred_at = greatest(known.last_occurred_at, excluded.last_occurred_at);

-- name: of_messages
FROM messages WHERE organisation = %(organisation)s AND conversation IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s);

-- name: of_customer_events
FROM customer_events WHERE organisation = %(organisation)s AND (customer = %(customer)s OR conversation IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s));

-- name: of_conversations
FROM conversations WHERE organisation = %(organisation)s AND (customer = %(customer)s OR id IN (
    SELECT id FROM customer_erasures WHERE organisation = %(organisation)s AND customer = %(customer)s));

-- name: of_customers
FROM customers WHERE organisation = %(organisation)s AND id = %(customer)s;
