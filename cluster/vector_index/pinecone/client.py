"""Open the client of a Pinecone index so that one call sends one request.

The package repeats failed requests by itself, and its public constructor has no option to switch this off.
The rate limits of the cluster would not count these retries, and the retries would multiply our own retries.

client = open_client(source, key)
"""

from dataclasses import replace

from pinecone import Index, RetryConfig

from cluster.errors import Misconfigured
from cluster.secrets import Secret
from cluster.settings.indexes import IndexSource

#: Version of Pinecone's API. Without a fixed version, the package would use the newest version of the API
#: that it knows, so a new version of the package could change the version of the API.
API_VERSION = "2026-04"
#: Time limit of one request in seconds.
TIMEOUT_S = 30.0


def open_client(source: IndexSource, key: Secret) -> Index:
    """Open a client that does not repeat requests. Opening the client sends no request.

    Raises:
        Misconfigured: the retries of this version of the package ``pinecone`` cannot be switched off.
    """
    client = Index(
        host=source.host or "",
        api_key=key.reveal(),
        timeout=TIMEOUT_S,
        additional_headers={"X-Pinecone-Api-Version": API_VERSION},
    )
    try:
        config = replace(client._config, retry_config=RetryConfig(max_retries=0))
        client._http.close()
        client._http = type(client._http)(config, API_VERSION)
    except (AttributeError, TypeError) as exc:
        raise Misconfigured(
            "the retries of this version of the package pinecone cannot be switched off; install the version "
            "in constraints.txt"
        ) from exc
    return client
