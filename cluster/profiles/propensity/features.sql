-- name: features  at a cutoff, of customers who bought before; `bought` says who bought in the window after it
SELECT customer,
    extract(epoch FROM %(cutoff)s::timestamptz - max(occurred_at) FILTER (WHERE occurred_at < %(cutoff)s))::float8 / 86400 AS recency,
    count(*) FILTER (WHERE occurred_at < %(cutoff)s)::float8 AS frequency,
    coalesce(avg(amount) FILTER (WHERE occurred_at < %(cutoff)s), 0)::float8 AS monetary,
    extract(epoch FROM %(cutoff)s::timestamptz - min(occurred_at))::float8 / 86400 AS tenure,
    (max(occurred_at) >= %(cutoff)s)::integer AS bought
FROM (
    SELECT customer, occurred_at, {amount} AS amount
    FROM {events} AS event
    WHERE type = %(purchase)s AND occurred_at < %(cutoff)s::timestamptz + %(window)s
) AS purchase
GROUP BY customer
HAVING min(occurred_at) < %(cutoff)s
ORDER BY md5(customer), customer
LIMIT %(limit)s;

-- name: everyone  the events of all customers
(SELECT customer, type, occurred_at, properties FROM customer_events
    WHERE organisation = (SELECT %(organisation)s::text) AND customer IN (
        SELECT id FROM customers
        WHERE organisation = (SELECT %(organisation)s::text) AND coalesce(profiling, %(unsaid)s)));

-- name: chosen  the lateral subqueries make Postgres read each customer by an index
(SELECT wanted.customer, type, occurred_at, properties
    FROM unnest(%(customers)s::text[]) AS wanted (customer), LATERAL (
        SELECT FROM customers
        WHERE organisation = (SELECT %(organisation)s::text) AND id = wanted.customer AND coalesce(profiling, %(unsaid)s)
        OFFSET 0
    ) AS allowed, LATERAL (
        SELECT type, occurred_at, properties FROM customer_events
        WHERE organisation = (SELECT %(organisation)s::text) AND customer_events.customer = wanted.customer OFFSET 0
    ) AS found);

-- name: first_purchase
SELECT min(occurred_at) FROM customer_events
WHERE organisation = (SELECT %(organisation)s::text) AND type = %(purchase)s AND occurred_at < %(as_of)s;
