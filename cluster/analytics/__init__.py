"""Roll-ups of usage and of the platform's data by hour and by day, and statistics that are read from them.

The jobs in ``data_jobs/kinds`` and the command ``python -m data_jobs.analytics`` compute the roll-ups. The
routes in ``serve_app/routes/analytics`` read them. ``docs/analytics.md`` explains the columns.

    compute_hours(pool, "acme")
    compute_days(pool, "acme")
"""
