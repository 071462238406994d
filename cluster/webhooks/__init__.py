"""Webhooks: signed requests to endpoints of an organisation about work that has ended.

endpoints.create_endpoint(connection, cipher, "acme", new, limit=10)
record_event(connection, "acme", "report.completed", {"id": "report_1"})     # in the transaction of the work
"""
