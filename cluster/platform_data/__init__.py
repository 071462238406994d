"""Agents, customers, conversations, messages and events of the organisations' own platforms.

The routes in ``serve_app/routes/platform_data`` call this package, and the roll-ups of analytics read its
tables. ``docs/platform-data.md`` describes the tables.

    events, faults = read_events("acme", rows)
    ingested = ingest(connection, "acme", events)
"""
