-- name: has_stops
SELECT EXISTS (SELECT FROM budgets WHERE organisation = %(organisation)s AND stop_at IS NOT NULL);

-- name: lock  all budgets of the organisation in one order, so that two processes cannot deadlock
SELECT FROM budgets WHERE organisation = %(organisation)s ORDER BY id FOR NO KEY UPDATE;

-- name: prices
SELECT kind, model, coalesce(usage_price(%(organisation)s, kind, model, clock_timestamp()), 0)
FROM unnest(%(kinds)s::text[], %(models)s::text[]) AS wanted (kind, model);

-- name: reserve
INSERT INTO budget_reservations (organisation, budget, id, owner, amount, expires_at)
VALUES (%(organisation)s, %(budget)s, %(id)s, %(owner)s, %(amount)s, clock_timestamp() + make_interval(secs => %(lease_s)s));

-- name: renew
UPDATE budget_reservations SET expires_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
WHERE organisation = %(organisation)s AND owner = %(owner)s AND expires_at > clock_timestamp();

-- name: release
DELETE FROM budget_reservations WHERE organisation = %(organisation)s AND id = ANY (%(ids)s);

-- name: release_all
DELETE FROM budget_reservations WHERE organisation = %(organisation)s AND owner = %(owner)s;
