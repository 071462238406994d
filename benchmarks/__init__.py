"""Benchmarks. Each prints a ratio against a named baseline that is measured in the same run."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from psycopg_pool import ConnectionPool

from cluster.database import bundled, open_pool
from cluster.database.row_access import OWNER
from cluster.logs import configure
from cluster.settings import Settings


@contextmanager
def own_database() -> Iterator[tuple[Settings, ConnectionPool]]:
    """Run a bundled Postgres in a new folder inside the block. Yield the settings and a pool of the owner."""
    with tempfile.TemporaryDirectory(prefix="ec-bench-") as home:
        os.chmod(home, 0o755)  # the bundled Postgres runs as another user when we are root
        settings = Settings(home=Path(home), log_level="ERROR")
        configure(settings)
        try:
            with open_pool(settings, access=OWNER) as pool:
                yield settings, pool
        finally:
            bundled.stop(settings)
