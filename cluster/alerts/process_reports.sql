-- name: write
INSERT INTO process_reports (process, deployment, node, details)
VALUES (%(process)s, %(deployment)s, %(node)s, %(details)s)
ON CONFLICT (process) DO UPDATE SET reported_at = now(), details = EXCLUDED.details;

-- name: all  without silent processes that a newer process of the same deployment has replaced
SELECT process, deployment, node, details, extract(epoch FROM now() - reported_at)::float8 FROM process_reports AS report
WHERE reported_at > now() - make_interval(secs => %(forgotten_s)s)
  AND NOT (reported_at < now() - make_interval(secs => %(silent_s)s) AND EXISTS (
      SELECT 1 FROM process_reports AS newer
      WHERE newer.deployment = report.deployment AND newer.started_at > report.reported_at))
ORDER BY process;

-- name: delete
DELETE FROM process_reports WHERE process = %(process)s;

-- name: delete_old
DELETE FROM process_reports WHERE reported_at < now() - make_interval(secs => %(forgotten_s)s);
