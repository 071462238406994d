-- name: features  of each customer who bought before the cutoff, and whether the customer bought in the window after it;
-- {and_id} and {and_customer} choose the customers
SELECT customer,
    extract(epoch FROM %(cutoff)s::timestamptz - max(occurred_at) FILTER (WHERE occurred_at < %(cutoff)s))::float8 / 86400 AS recency,
    count(*) FILTER (WHERE occurred_at < %(cutoff)s)::float8 AS frequency,
    coalesce(avg(amount) FILTER (WHERE occurred_at < %(cutoff)s), 0)::float8 AS monetary,
    extract(epoch FROM %(cutoff)s::timestamptz - min(occurred_at))::float8 / 86400 AS tenure,
    (max(occurred_at) >= %(cutoff)s)::integer AS bought
FROM (
    SELECT customer, occurred_at, {amount} AS amount
    FROM customer_events
    WHERE organisation = (SELECT %(organisation)s::text) AND type = %(purchase)s
        AND occurred_at < %(cutoff)s::timestamptz + %(window)s
        AND customer IN (SELECT id FROM customers
            WHERE organisation = (SELECT %(organisation)s::text) AND coalesce(profiling, %(unsaid)s){and_id})
        {and_customer}
) AS purchase
GROUP BY customer
HAVING min(occurred_at) < %(cutoff)s
ORDER BY md5(customer), customer
LIMIT %(limit)s;

-- name: first_purchase
SELECT min(occurred_at) FROM customer_events
WHERE organisation = (SELECT %(organisation)s::text) AND type = %(purchase)s AND occurred_at < %(as_of)s;
