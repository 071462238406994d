-- name: record  repeated work has the same id and counts once; the work of a job is that of the job's key
INSERT INTO usage_events (organisation, id, kind, unit, quantity, model, source, job, cost, key, agent, at)
VALUES (%(organisation)s, %(id)s, %(kind)s, %(unit)s, %(quantity)s, %(model)s, %(source)s, %(job)s, %(cost)s,
    coalesce(%(key)s, (SELECT key FROM jobs WHERE organisation = %(organisation)s AND id = %(job)s)), %(agent)s,
    coalesce(%(at)s::timestamptz, now()))
ON CONFLICT (organisation, id) DO NOTHING;
