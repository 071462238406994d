"""Refuse to listen on an address that other machines reach, unless there is a key or an issuer of tokens.

``make up`` calls this module before it starts Serve, and each replica calls it for the address of the running
Serve.

    require_key(settings, "0.0.0.0")
"""

import psycopg

from cluster.database import connect, for_all_organisations
from cluster.errors import Misconfigured, Unavailable
from cluster.keys.api_keys import any_working_key
from cluster.settings import Settings, is_loopback


def require_key(settings: Settings, host: str) -> None:
    """Check that only this machine can reach the address, or that requests need a key or a token.

    Raises:
        Misconfigured: other machines reach the address, the settings have no key and no issuer of tokens, and
            the database has no key that works or does not answer.
    """
    if is_loopback(host) or settings.api_key is not None or settings.oidc_issuer is not None:
        return
    problem = f"Serve listens on {host}, which lets other machines in, and there is no API key"
    remedy = (
        "set CLUSTER_API_KEY on every node, or create a key with python -m cluster.keys create, or set "
        "host: 127.0.0.1 (CLUSTER_API_HOST)"
    )
    try:
        with for_all_organisations(), connect(settings) as connection:
            if any_working_key(connection):
                return
    except psycopg.errors.UndefinedTable:  # a new database has no tables, so there is no key
        pass
    except (psycopg.Error, Unavailable) as exc:
        raise Misconfigured(
            f"{problem} in the settings; the database does not answer: {exc}; {remedy}"
        ) from exc
    raise Misconfigured(f"{problem}: {remedy}")
