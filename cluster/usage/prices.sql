-- name: lock_of_all  one change of prices at a time
LOCK TABLE usage_prices IN SHARE ROW EXCLUSIVE MODE;

-- name: next  the beginning of the next period
SELECT min(valid_from) FROM usage_prices
WHERE organisation IS NOT DISTINCT FROM %(organisation)s AND kind = %(kind)s AND model IS NOT DISTINCT FROM %(model)s
    AND valid_from > %(valid_from)s;

-- name: take_out  the periods that overlap the new one
DELETE FROM usage_prices
WHERE organisation IS NOT DISTINCT FROM %(organisation)s AND kind = %(kind)s AND model IS NOT DISTINCT FROM %(model)s
    AND tstzrange(valid_from, valid_to) && tstzrange(%(valid_from)s, %(valid_to)s)
RETURNING {columns};

-- name: insert
INSERT INTO usage_prices (organisation, kind, model, price, valid_from, valid_to, created_at)
VALUES (%(organisation)s, %(kind)s, %(model)s, %(price)s, %(valid_from)s, %(valid_to)s, %(created_at)s);

-- name: list_of_all
SELECT {columns} FROM usage_prices
ORDER BY kind, organisation NULLS FIRST, model NULLS FIRST, valid_from;

-- name: list  the prices that concern the organisation
SELECT {columns} FROM usage_prices
WHERE organisation IS NULL OR organisation = %(organisation)s
ORDER BY kind, organisation NULLS FIRST, model NULLS FIRST, valid_from;

-- name: changes  times at which a price that may concern the organisation begins or ends
SELECT DISTINCT change FROM usage_prices, unnest(ARRAY[valid_from, valid_to]) AS change
WHERE (organisation IS NULL OR organisation = %(organisation)s) AND change > %(start)s AND change < %(end)s
ORDER BY change;
