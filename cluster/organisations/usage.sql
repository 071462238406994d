-- name: record  repeated work has the same id and counts once
INSERT INTO usage_events (organisation, id, kind, unit, quantity, model, source, job, cost)
VALUES (%(organisation)s, %(id)s, %(kind)s, %(unit)s, %(quantity)s, %(model)s, %(source)s, %(job)s, %(cost)s)
ON CONFLICT (organisation, id) DO NOTHING;
