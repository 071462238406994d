"""Usage reports: what each organisation used in a billing period, as CSV and as PDF.

The endpoint, the jobs and ``python -m data_jobs.usage_report`` use this package. ``docs/usage-reports.md``
describes the reports, and ``docs/decisions/046-usage-reports.md`` explains the decisions.

    report = request_report(connection, "acme", period="previous", with_pdf=True, grace_days=3)
    maker = ReportMaker(opener=opener, blobs=blobs, roll_up=roll_up, grace_days=3)
    maker.make_requested(report, datetime.now(UTC))
"""
