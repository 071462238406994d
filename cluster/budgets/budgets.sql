-- name: state  of the current period of each budget. The sum of events is computed only if the period has no row yet.
SELECT budget.*, owner.time_zone, current.starts_at, current.ends_at, period.warned_at, period.stopped_at,
    coalesce(
        period.used + (SELECT coalesce(sum(amount), 0) FROM budget_charges AS charge
            WHERE charge.organisation = budget.organisation AND charge.budget = budget.id
                AND charge.at >= current.starts_at AND charge.at < current.ends_at),
        (SELECT sum(budget_amount(budget.unit, organisation, kind, event.unit, model, at, quantity, cost)) FROM usage_events AS event
            WHERE event.organisation = budget.organisation AND at >= current.starts_at AND at < current.ends_at
                AND (budget.key IS NULL OR budget.key = event.key) AND (budget.agent IS NULL OR budget.agent = event.agent)),
        0) AS used,
    (SELECT coalesce(sum(amount), 0) FROM budget_reservations AS reservation
        WHERE reservation.organisation = budget.organisation AND reservation.budget = budget.id
            AND reservation.expires_at > clock_timestamp()) AS reserved
FROM budgets AS budget JOIN organisations AS owner ON owner.id = budget.organisation
CROSS JOIN LATERAL budget_period(budget.period, clock_timestamp(), owner.time_zone, owner.billing_day) AS current
LEFT JOIN budget_periods AS period ON period.organisation = budget.organisation AND period.budget = budget.id
    AND period.starts_at = current.starts_at AND period.ends_at = current.ends_at
WHERE budget.organisation = %(organisation)s
ORDER BY budget.id;

-- name: newest
SELECT * FROM ({state}) AS state
WHERE organisation = %(organisation)s
    AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT * FROM ({state}) AS state
WHERE organisation = %(organisation)s
    AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s)
    AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT created_at, created_at FROM budgets WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: count
SELECT count(*) FROM budgets WHERE organisation = %(organisation)s;

-- name: wait_for_usage  the trigger of usage events holds the same lock, shared, until its transaction ends
SELECT pg_advisory_xact_lock(hashtextextended('budgets of ' || %(organisation)s, 0));

-- name: insert
INSERT INTO budgets (organisation, id, name, key, agent, unit, period, warn_at, stop_at, by_operator)
VALUES (%(organisation)s, %(id)s, %(name)s, %(key)s, %(agent)s, %(unit)s, %(period)s, %(warn_at)s, %(stop_at)s, %(by_operator)s);

-- name: update
UPDATE budgets SET name = %(name)s, warn_at = %(warn_at)s, stop_at = %(stop_at)s, updated_at = clock_timestamp()
WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: delete
DELETE FROM budgets WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: open_periods  that have no row yet. The sum of their events replaces the charges of these events, which one snapshot shows.
WITH opened AS (
    SELECT budget.*, current.starts_at, current.ends_at
    FROM budgets AS budget JOIN organisations AS owner ON owner.id = budget.organisation
    CROSS JOIN LATERAL budget_period(budget.period, clock_timestamp(), owner.time_zone, owner.billing_day) AS current
    WHERE budget.organisation = %(organisation)s AND NOT EXISTS (
        SELECT FROM budget_periods AS period WHERE period.organisation = budget.organisation AND period.budget = budget.id
            AND period.starts_at = current.starts_at AND period.ends_at = current.ends_at)
), summed AS (
    DELETE FROM budget_charges AS charge USING opened
    WHERE charge.organisation = opened.organisation AND charge.budget = opened.id
        AND charge.at >= opened.starts_at AND charge.at < opened.ends_at
)
INSERT INTO budget_periods AS period (organisation, budget, starts_at, ends_at, used)
SELECT organisation, id, starts_at, ends_at, coalesce(
    (SELECT sum(budget_amount(opened.unit, organisation, kind, event.unit, model, at, quantity, cost)) FROM usage_events AS event
     WHERE event.organisation = opened.organisation AND at >= opened.starts_at AND at < opened.ends_at
        AND (opened.key IS NULL OR opened.key = event.key) AND (opened.agent IS NULL OR opened.agent = event.agent)), 0)
FROM opened
ON CONFLICT (organisation, budget, starts_at) DO UPDATE SET ends_at = excluded.ends_at, used = excluded.used;

-- name: add_charges  to the periods that contain them; of a period without a row, the events are summed when it is opened
WITH charged AS (
    DELETE FROM budget_charges WHERE organisation = %(organisation)s RETURNING organisation, budget, at, amount
), sums AS (
    SELECT period.organisation, period.budget, period.starts_at, sum(charged.amount) AS amount
    FROM charged JOIN budget_periods AS period ON period.organisation = charged.organisation AND period.budget = charged.budget
        AND charged.at >= period.starts_at AND charged.at < period.ends_at
    GROUP BY 1, 2, 3
)
UPDATE budget_periods AS period SET used = period.used + sums.amount
FROM sums WHERE (period.organisation, period.budget, period.starts_at) = (sums.organisation, sums.budget, sums.starts_at);
