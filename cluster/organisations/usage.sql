-- name: record  repeated work has the same id and counts once
INSERT INTO usage_events (organisation, id, kind, unit, quantity, model, source, job)
VALUES (%(organisation)s, %(id)s, %(kind)s, %(unit)s, %(quantity)s, %(model)s, %(source)s, %(job)s)
ON CONFLICT (organisation, id) DO NOTHING;
