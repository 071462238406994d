"""Send webhooks, which are signed requests that tell an organisation's endpoints about work that has ended.

endpoints.create_endpoint(connection, cipher, "acme", new, limit=10)
record_event(connection, "acme", "job.succeeded", {"id": "job_1"})     # in the transaction of the work
"""
