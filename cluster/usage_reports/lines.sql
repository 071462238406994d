-- name: lines  of the period, and the differences between the roll-ups and all final reports for earlier days. One statement, so one
-- snapshot. Without a final report there are no differences. Days before the first final report count as reported with nothing.
WITH rolled AS (
    SELECT day, coalesce(agent, '') AS agent, coalesce(model, '') AS model, kind,
        sum(quantity) AS quantity, sum(events) AS events, sum(cost) AS cost
    FROM usage_daily
    WHERE organisation = %(organisation)s AND day < %(end)s
    GROUP BY 1, 2, 3, 4
), covered AS (
    SELECT least(max(period_end), %(start)s::date) AS until
    FROM usage_reports
    WHERE organisation = %(organisation)s AND state = 'final' AND status = 'completed'
), reported AS (
    SELECT day, agent, model, kind, sum(quantity) AS quantity, sum(events) AS events, sum(cost) AS cost
    FROM usage_report_lines
    WHERE organisation = %(organisation)s
    GROUP BY 1, 2, 3, 4
), differences AS (
    SELECT day, agent, model, kind,
        coalesce(rolled.quantity, 0) - coalesce(reported.quantity, 0) AS quantity,
        coalesce(rolled.events, 0) - coalesce(reported.events, 0) AS events,
        CASE WHEN rolled.cost IS NOT NULL OR reported.cost IS NOT NULL
            THEN coalesce(rolled.cost, 0) - coalesce(reported.cost, 0) END AS cost
    FROM rolled FULL JOIN reported USING (day, agent, model, kind)
    WHERE day < (SELECT until FROM covered)
), lines AS (
    SELECT false AS adjustment, * FROM rolled WHERE day >= %(start)s
    UNION ALL
    SELECT true, * FROM differences WHERE quantity <> 0 OR events <> 0 OR coalesce(cost, 0) <> 0
)
SELECT lines.adjustment, lines.day, lines.agent, coalesce(agents.name, ''), lines.model, lines.kind, lines.quantity, lines.events,
    lines.cost
FROM lines
LEFT JOIN agents ON agents.organisation = %(organisation)s AND agents.id = lines.agent
ORDER BY lines.adjustment, lines.day, lines.agent COLLATE "C", lines.model COLLATE "C", lines.kind COLLATE "C";

-- name: keep_line
INSERT INTO usage_report_lines
    (organisation, report, number, adjustment, day, agent, model, kind, unit, quantity, events, cost)
VALUES (%(organisation)s, %(report)s, %(number)s, %(adjustment)s, %(day)s, %(agent)s, %(model)s, %(kind)s, %(unit)s, %(quantity)s,
    %(events)s, %(cost)s);

-- name: organisation
SELECT name, time_zone FROM organisations WHERE id = %(organisation)s;
