-- name: save
INSERT INTO propensity_models (organisation, version, trained_at, state, parameters, report)
VALUES (%(organisation)s, %(version)s, %(trained_at)s, %(state)s, %(parameters)s, %(report)s)
ON CONFLICT (organisation, version) DO UPDATE SET trained_at = excluded.trained_at, report = excluded.report;

-- name: prune
DELETE FROM propensity_models WHERE organisation = %(organisation)s AND version NOT IN (
    SELECT version FROM propensity_models WHERE organisation = %(organisation)s
    ORDER BY trained_at DESC, version DESC LIMIT %(kept)s);

-- name: latest
SELECT version, trained_at, state, parameters, report FROM propensity_models
WHERE organisation = %(organisation)s ORDER BY trained_at DESC, version DESC LIMIT %(limit)s;
