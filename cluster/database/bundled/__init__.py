"""Runs the bundled Postgres server on this machine if no other database is configured.

from cluster.database import bundled
url = bundled.start(settings)
"""

from cluster.database.bundled.server import BundledStatus, start, status, stop, url

__all__ = ["BundledStatus", "start", "status", "stop", "url"]
