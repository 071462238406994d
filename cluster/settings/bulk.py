"""Bulk jobs: how many engines one job starts."""

from pydantic import Field

from cluster.settings.values import Concern


class BulkSettings(Concern):
    """Bulk jobs: how many engines one job starts."""

    bulk_engines: int = Field(default=0, ge=0)
    """Engines of one bulk job; 0 means one per GPU, or one when there is none."""
