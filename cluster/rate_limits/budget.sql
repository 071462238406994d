-- Each transaction locks the budget's row first (``lock``), and then sees what every earlier transaction wrote. A settlement takes no
-- lock: the claim's amounts count as held before its commit, and as used after it.

-- name: lock  the clock never goes back, and is read while the row is locked
INSERT INTO rate_budgets AS budget (name, clock) VALUES (%(budget)s, clock_timestamp())
ON CONFLICT (name) DO UPDATE SET clock = greatest(budget.clock, clock_timestamp());

-- name: settings  a crash of the server can lose the last grants; their settlements record them again. Planning takes longer than executing.
SELECT set_config('synchronous_commit', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true),
    set_config('jit', 'off', true);

-- name: expire  a held claim may have been used until its end; an offered one was never used
WITH gone AS (
    DELETE FROM rate_claims
    WHERE budget = %(budget)s AND until <= (SELECT clock FROM rate_budgets WHERE name = %(budget)s)
    RETURNING *
)
INSERT INTO rate_usage AS usage (budget, resource, until, amount)
SELECT budget, part.resource, {counts_until}, sum(part.amount)
FROM (SELECT budget, state, resources, amounts, windows, until AS at FROM gone) AS gone,
    unnest(gone.resources, gone.amounts, gone.windows) AS part (resource, amount, window_s)
WHERE gone.state = 'held'
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
ON CONFLICT (budget, resource, until) DO UPDATE SET amount = usage.amount + excluded.amount;

-- name: forget
DELETE FROM rate_usage
WHERE budget = %(budget)s AND until <= (SELECT clock FROM rate_budgets WHERE name = %(budget)s);

-- name: forget_turns
DELETE FROM rate_turns USING rate_budgets AS budget
WHERE budget.name = %(budget)s AND rate_turns.budget = budget.name
  AND rate_turns.next <= CASE WHEN urgent THEN budget.urgent_now ELSE budget.bulk_now END;

-- name: claim  of a new caller, or of one that waits and asks again
INSERT INTO rate_claims AS claim (budget, id, organisation, urgent, state, until, resources, amounts, windows)
SELECT name, %(id)s, %(organisation)s, %(urgent)s, 'waiting', clock + %(seen_s)s * interval '1 second',
    %(resources)s, %(amounts)s, %(windows)s
FROM rate_budgets WHERE name = %(budget)s
ON CONFLICT (budget, id) DO UPDATE SET
    state = CASE claim.state WHEN 'waiting' THEN 'waiting' ELSE 'held' END,
    until = excluded.until + CASE claim.state WHEN 'waiting' THEN 0 ELSE %(lease_s)s - %(seen_s)s END * interval '1 second';

-- name: allocate  give room to the first waiting claims that fit together; answer whether this one holds room, or how long it waits
WITH budget AS (SELECT * FROM rate_budgets WHERE name = %(budget)s),
limits AS (
    SELECT * FROM unnest(%(all_resources)s::text[], %(all_limits)s::float8[], %(all_windows)s::float8[]) AS one (resource, most, window_s)
),
claims AS MATERIALIZED (SELECT * FROM rate_claims WHERE budget = %(budget)s),
parts AS MATERIALIZED (
    SELECT claims.id, claims.state, part.resource, part.amount, part.amount * limits.window_s / limits.most / %(pace)s AS pace_s, limits.most
    FROM claims, unnest(claims.resources, claims.amounts) AS part (resource, amount) JOIN limits USING (resource)
),
usage AS MATERIALIZED (SELECT resource, until, amount FROM rate_usage WHERE budget = %(budget)s),
room AS MATERIALIZED (
    SELECT resource, most, window_s, most
        - coalesce((SELECT sum(amount) FROM usage WHERE usage.resource = limits.resource), 0)
        - coalesce((SELECT sum(amount) FROM parts WHERE parts.resource = limits.resource AND state <> 'waiting'), 0) AS room
    FROM limits
),
waiting AS (   -- the cost of a claim is the largest share of a limit that it takes
    SELECT claims.id, organisation, urgent, number, cost, cost / coalesce((%(weights)s::jsonb ->> organisation)::float8, 1) AS advance
    FROM claims JOIN (SELECT id, max(amount / most) AS cost FROM parts WHERE state = 'waiting' GROUP BY id) AS costs USING (id)
),
started AS (   -- start-time fair queueing between organisations, in each of the two classes
    SELECT waiting.*, budget.urgent_lead,
        greatest(turn.next, CASE WHEN waiting.urgent THEN budget.urgent_now ELSE budget.bulk_now END)
        + sum(advance) OVER (PARTITION BY waiting.urgent, waiting.organisation ORDER BY number) - advance AS start
    FROM waiting CROSS JOIN budget LEFT JOIN rate_turns AS turn
        ON (turn.budget, turn.organisation, turn.urgent) = (budget.name, waiting.organisation, waiting.urgent)
),
merged AS (    -- urgent claims go first, until they have used URGENT_SHARE times what the next other claim costs
    SELECT started.*, CASE WHEN urgent THEN sum(cost) OVER class - cost
        ELSE %(urgent_share)s * sum(cost) OVER class - urgent_lead END AS place
    FROM started WINDOW class AS (PARTITION BY urgent ORDER BY start, number)
),
line AS MATERIALIZED (
    SELECT merged.*, row_number() OVER (ORDER BY place, urgent, start, number) AS position, NOT urgent AND place <= 0 AS owed
    FROM merged
),
needs AS MATERIALIZED (   -- pace_s: how much too early the claim is; urgent claims wait for the pace of urgent claims only
    SELECT line.id, line.position, line.urgent, parts.resource, sum(parts.amount) OVER ahead AS total,
        CASE WHEN owed THEN 0
            ELSE greatest(0, extract(epoch FROM pace.passed_at - budget.clock)::float8) - greatest(%(burst)s * room.window_s, pace_s)
                + CASE WHEN line.urgent THEN sum(pace_s) FILTER (WHERE line.urgent OR owed) OVER ahead ELSE sum(pace_s) OVER ahead END
        END AS early_s
    FROM line JOIN parts USING (id) JOIN room USING (resource) CROSS JOIN budget LEFT JOIN rate_paces AS pace
        ON (pace.budget, pace.resource, pace.urgent) = (budget.name, parts.resource, line.urgent)
    WINDOW ahead AS (PARTITION BY parts.resource ORDER BY line.position)
),
fitting AS (
    SELECT id, bool_and(bool_and(total <= room)) OVER (ORDER BY position)
        AND bool_and(bool_and(early_s <= 1e-6)) OVER (PARTITION BY urgent ORDER BY position) AS fits
    FROM needs JOIN room USING (resource) GROUP BY id, position, urgent
),
granted AS MATERIALIZED (
    SELECT line.* FROM line JOIN fitting USING (id) CROSS JOIN budget WHERE fits AND budget.paused_until <= budget.clock
),
given AS (
    UPDATE rate_claims SET
        state = CASE WHEN granted.id = %(id)s THEN 'held' ELSE 'offered' END,
        until = budget.clock + CASE WHEN granted.id = %(id)s THEN %(lease_s)s ELSE %(offer_s)s END * interval '1 second'
    FROM granted, budget WHERE rate_claims.budget = budget.name AND rate_claims.id = granted.id
),
turned AS (
    INSERT INTO rate_turns AS turn (budget, organisation, urgent, next)
    SELECT %(budget)s, organisation, urgent, max(start + advance) FROM granted GROUP BY organisation, urgent
    ON CONFLICT (budget, organisation, urgent) DO UPDATE SET next = greatest(turn.next, excluded.next)
),
paced AS (
    INSERT INTO rate_paces AS pace (budget, resource, urgent, passed_at)
    SELECT budget.name, resource, class.urgent, budget.clock + sum(pace_s) * interval '1 second'
    FROM granted JOIN parts USING (id) CROSS JOIN budget CROSS JOIN (VALUES (true), (false)) AS class (urgent)
    WHERE granted.urgent OR granted.owed OR NOT class.urgent
    GROUP BY budget.name, resource, class.urgent, budget.clock ORDER BY resource, class.urgent
    ON CONFLICT (budget, resource, urgent) DO UPDATE SET
        passed_at = excluded.passed_at + greatest(interval '0', pace.passed_at - (SELECT clock FROM budget))
),
moved AS (
    SELECT max(start) FILTER (WHERE urgent) AS urgent_now, max(start) FILTER (WHERE NOT urgent) AS bulk_now,
        coalesce(sum(cost) FILTER (WHERE urgent), 0) - %(urgent_share)s * coalesce(sum(cost) FILTER (WHERE NOT urgent), 0) AS lead,
        (SELECT bool_or(NOT urgent) FROM line) AS others_wait
    FROM granted HAVING count(*) > 0
),
timed AS (
    UPDATE rate_budgets AS budget SET
        urgent_now = greatest(budget.urgent_now, moved.urgent_now), bulk_now = greatest(budget.bulk_now, moved.bulk_now),
        urgent_lead = CASE WHEN moved.others_wait THEN greatest(0, budget.urgent_lead + moved.lead) ELSE 0 END
    FROM moved WHERE budget.name = %(budget)s
),
freed AS (     -- when used amounts stop counting; a held one does so a window after its settlement at the earliest
    SELECT resource, until, sum(amount) OVER (PARTITION BY resource ORDER BY until) AS total FROM (
        SELECT * FROM usage UNION ALL
        SELECT resource, budget.clock + room.window_s * interval '1 second', amount
        FROM parts JOIN room USING (resource) CROSS JOIN budget WHERE state <> 'waiting'
    ) AS ends
)
SELECT own.state = 'held' OR EXISTS (SELECT FROM granted WHERE id = %(id)s) AS held,
    greatest(
        extract(epoch FROM budget.paused_until - budget.clock),
        (SELECT max(early_s) FROM needs WHERE needs.id = %(id)s),
        (SELECT max(extract(epoch FROM coalesce(
            (SELECT min(until) FROM freed WHERE freed.resource = needs.resource AND freed.total >= needs.total - room.room),
            budget.clock + (needs.total - room.room) / room.most * room.window_s * interval '1 second') - budget.clock))
         FROM needs JOIN room USING (resource) WHERE needs.id = %(id)s AND needs.total > room.room)
    )::float8 AS wait_s
FROM budget, claims AS own WHERE own.id = %(id)s;

-- name: settle  after ``withdraw``, in the order of ``expire``, so that the two do not deadlock; the amounts that the provider counted stop counting a window after now; they count even if the claim is gone
WITH now AS (SELECT name, greatest(clock, clock_timestamp()) AS at FROM rate_budgets WHERE name = %(budget)s)
INSERT INTO rate_usage AS usage (budget, resource, until, amount)
SELECT name, part.resource, {counts_until}, part.amount
FROM now, unnest(%(resources)s::text[], %(amounts)s::float8[], %(windows)s::float8[]) AS part (resource, amount, window_s)
WHERE part.amount > 0 ORDER BY part.resource
ON CONFLICT (budget, resource, until) DO UPDATE SET amount = usage.amount + excluded.amount;

-- name: return_pace  of amounts that were granted and not used
UPDATE rate_paces AS pace SET passed_at = pace.passed_at - part.unused * part.window_s / part.most / %(pace)s * interval '1 second'
FROM unnest(%(resources)s::text[], %(unused)s::float8[], %(windows)s::float8[], %(limits)s::float8[])
    AS part (resource, unused, window_s, most)
WHERE pace.budget = %(budget)s AND pace.resource = part.resource AND (NOT pace.urgent OR %(urgent)s);

-- name: withdraw
DELETE FROM rate_claims WHERE budget = %(budget)s AND id = %(id)s;

-- name: correct  count what others than this cluster used, as far as the provider has less room left than this budget
WITH told AS (
    SELECT * FROM unnest(%(resources)s::text[], %(limits)s::float8[], %(windows)s::float8[], %(remaining)s::float8[], %(resets)s::float8[])
        AS one (resource, most, window_s, remaining, reset_s)
),
used AS (
    SELECT resource, amount FROM rate_usage WHERE budget = %(budget)s
    UNION ALL
    SELECT part.resource, part.amount FROM rate_claims, unnest(resources, amounts) AS part (resource, amount)
    WHERE budget = %(budget)s AND state <> 'waiting'
)
INSERT INTO rate_usage AS usage (budget, resource, until, amount)
SELECT name, resource, {slot_end}, extra
FROM (SELECT name, clock + least(reset_s, window_s) * interval '1 second' AS at, told.* FROM rate_budgets, told) AS part, LATERAL (
    SELECT part.most - part.remaining - coalesce(sum(used.amount), 0) AS extra FROM used WHERE used.resource = part.resource
) AS other
WHERE name = %(budget)s AND extra > 0 ORDER BY resource
ON CONFLICT (budget, resource, until) DO UPDATE SET amount = usage.amount + excluded.amount;

-- name: pause
UPDATE rate_budgets SET paused_until = greatest(paused_until, clock + %(seconds)s * interval '1 second') WHERE name = %(budget)s;
