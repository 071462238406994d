-- name: calendar  of the organisation's billing periods
SELECT time_zone, billing_day, created_at, deleted_at,
    (SELECT max(period_end) FROM usage_reports WHERE organisation = %(organisation)s AND state = 'final' AND status = 'completed'),
    (SELECT min(day) FROM usage_daily WHERE organisation = %(organisation)s)
FROM organisations WHERE id = %(organisation)s;

-- name: final_of_day
SELECT {columns} FROM usage_reports
WHERE organisation = %(organisation)s AND state = 'final' AND status = 'completed'
    AND period_start <= %(day)s AND %(day)s < period_end;

-- name: queue  a new report, or one that is not completed; no row if the report is completed
INSERT INTO usage_reports AS report (organisation, id, period_start, period_end, time_zone, state, with_pdf)
VALUES (%(organisation)s, %(id)s, %(period_start)s, %(period_end)s, %(time_zone)s, %(state)s, %(with_pdf)s)
ON CONFLICT (organisation, id) DO UPDATE
SET status = 'queued', error = NULL, period_end = excluded.period_end, time_zone = excluded.time_zone
WHERE report.status <> 'completed'
RETURNING {columns};

-- name: queued
SELECT count(*) FROM usage_reports WHERE organisation = %(organisation)s AND status = 'queued';

-- name: get
SELECT {columns} FROM usage_reports WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: set_job
UPDATE usage_reports SET job = %(job)s WHERE organisation = %(organisation)s AND id = %(id)s RETURNING {columns};

-- name: alone  final reports of an organisation are completed one after another
SELECT pg_advisory_xact_lock(hashtextextended('usage reports of ' || %(organisation)s, 0));

-- name: complete  no row if the report is completed
UPDATE usage_reports
SET status = 'completed', error = NULL, completed_at = clock_timestamp(), csv_sha256 = %(csv_sha256)s, csv_bytes = %(csv_bytes)s,
    pdf_sha256 = %(pdf_sha256)s, pdf_bytes = %(pdf_bytes)s, usage_lines = %(usage_lines)s,
    adjustment_lines = %(adjustment_lines)s, events = %(events)s, cost = %(cost)s
WHERE organisation = %(organisation)s AND id = %(id)s AND status <> 'completed'
RETURNING {columns};

-- name: fail
UPDATE usage_reports SET status = 'failed', error = %(error)s
WHERE organisation = %(organisation)s AND id = %(id)s AND status <> 'completed'
RETURNING {columns};

-- name: newest
SELECT {columns} FROM usage_reports
WHERE organisation = %(organisation)s AND (%(state)s::text IS NULL OR state = %(state)s)
    AND (created_at, id) < (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) > (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at DESC, id DESC
LIMIT %(limit)s;

-- name: oldest
SELECT {columns} FROM usage_reports
WHERE organisation = %(organisation)s AND (%(state)s::text IS NULL OR state = %(state)s)
    AND (created_at, id) > (%(from_at)s::timestamptz, %(from_id)s) AND (created_at, id) < (%(to_at)s::timestamptz, %(to_id)s)
ORDER BY created_at, id
LIMIT %(limit)s;

-- name: places
SELECT created_at, created_at FROM usage_reports WHERE organisation = %(organisation)s AND id = %(id)s;

-- name: delete_drafts  of one organisation
DELETE FROM usage_reports
WHERE organisation = %(organisation)s AND NOT (state = 'final' AND status = 'completed')
RETURNING csv_sha256, pdf_sha256;

-- name: delete_draft
DELETE FROM usage_reports
WHERE organisation = %(organisation)s AND id = %(id)s AND state = 'draft' AND status = 'completed';

-- name: delete_old_drafts_of_all
DELETE FROM usage_reports
WHERE state = 'draft' AND status <> 'queued' AND created_at < now() - make_interval(days => %(days)s)
RETURNING csv_sha256, pdf_sha256;

-- name: organisations_of_all  with a usage report to make, perhaps; deleted organisations get a last one
SELECT id FROM organisations WHERE id <> 'system' ORDER BY id;

-- name: abandoned_of_all  queued reports whose job ended in another way, for example because its workers died again and again
SELECT {columns} FROM usage_reports
WHERE status = 'queued' AND EXISTS (
    SELECT FROM jobs WHERE jobs.organisation = usage_reports.organisation AND jobs.id = usage_reports.job
        AND jobs.state IN ('failed', 'cancelled'));
