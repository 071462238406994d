"""Connects to Postgres: bundled server, schema, translated errors, connections and connection pools.

from cluster.database import open_pool, translated
"""

from cluster.database.errors import translated
from cluster.database.pool import (
    CONNECTION,
    connect,
    database_url,
    in_one_transaction,
    open_pool,
    revive,
    single_statements,
    snapshot,
)
from cluster.database.row_access import (
    as_owner,
    for_all_organisations,
    for_organisation,
    on_behalf_of_the_cluster,
    organisation_access,
)

__all__ = [
    "CONNECTION",
    "as_owner",
    "connect",
    "database_url",
    "for_all_organisations",
    "for_organisation",
    "in_one_transaction",
    "on_behalf_of_the_cluster",
    "open_pool",
    "organisation_access",
    "revive",
    "single_statements",
    "snapshot",
    "translated",
]
