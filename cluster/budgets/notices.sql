-- name: delete_expired_of_all  rows that another process deletes now are left to it
DELETE FROM budget_reservations WHERE (organisation, budget, id) IN (
    SELECT organisation, budget, id FROM budget_reservations WHERE expires_at <= clock_timestamp()
    LIMIT 1000 FOR UPDATE SKIP LOCKED);

-- name: charged_of_all  organisations with charges that are not added yet
SELECT DISTINCT organisation FROM budget_charges ORDER BY organisation LIMIT %(limit)s;

-- name: lock_unless_locked  false: another process has locked one of the budgets
SELECT count(*) = (SELECT count(*) FROM budgets WHERE organisation = %(organisation)s) FROM (
    SELECT FROM budgets WHERE organisation = %(organisation)s ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
) AS locked;

-- name: warned
UPDATE budget_periods SET warned_at = clock_timestamp()
WHERE organisation = %(organisation)s AND budget = %(budget)s AND starts_at = %(starts_at)s;

-- name: stopped
UPDATE budget_periods SET stopped_at = clock_timestamp()
WHERE organisation = %(organisation)s AND budget = %(budget)s AND starts_at = %(starts_at)s;
