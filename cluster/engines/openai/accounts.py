"""Open the accounts at a provider.

An account is a key of an organisation or of the operator, with the budget of this key.

An organisation that stored a key pays with this key, and has its own budget. All other organisations share
the key of the operator and one budget.

    account = Accounts(entry, pool).of("acme")
    account.whose_key                           # "the key of organisation acme"
"""

import os
import re
import threading
import time
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from openai import AsyncOpenAI, Timeout
from psycopg_pool import ConnectionPool

from cluster.engines.contract import ModelEntry
from cluster.errors import Misconfigured
from cluster.rate_limits import SharedBudget
from cluster.secrets import Secret, find_key

#: Seconds for which an account is kept in memory. After a change of the key, a process may use the old key
#: for this time.
REMEMBERED_S = 30.0
#: Time limit of one request in seconds. This limit must be shorter than the lease of a budget's grant.
REQUEST_TIMEOUT_S = 60.0
#: Time limit for opening a connection, in seconds.
CONNECT_TIMEOUT_S = 5.0
#: Period of the limits per minute, in seconds.
MINUTE_S = 60.0
#: URL of OpenAI's own API.
OPENAI_URL = "https://api.openai.com/v1"
#: The key that is sent to a server that needs no key, because the client requires a key.
NO_KEY = "none"


@dataclass(frozen=True, kw_only=True, slots=True)
class Account:
    """A key at the provider, with the client that sends the key and the budget of the key."""

    #: Name of the provider in messages: ``OpenAI``, or the host of the server.
    provider: str
    #: Owner of the key in messages, such as "the key of organisation acme".
    whose_key: str
    key: Secret = field(repr=False)
    client: AsyncOpenAI = field(repr=False)
    #: The shared budget; None if the settings have no limits per minute.
    budget: SharedBudget | None

    @property
    def setting(self) -> str:
        """The setting that names the model."""
        return "CLUSTER_MODELS"

    @property
    def task(self) -> str:
        """The task for which the key needs a right."""
        return "embed"

    @property
    def secrets(self) -> list[str]:
        """The texts that must not be in any message."""
        return [self.key.reveal()] if self.key else []


class Accounts:
    """Opens and keeps the accounts of one model. Safe to use from several threads.

    Args:
        entry: the model.
        pool: connections to the database.
    """

    def __init__(self, entry: ModelEntry, pool: ConnectionPool) -> None:
        self._entry = entry
        self._pool = pool
        self._lock = threading.Lock()
        self._accounts: dict[tuple[str | None, Secret], Account] = {}
        self._found: dict[str, tuple[float, Account]] = {}
        host = urlsplit(entry.options.base_url or "").hostname
        self._provider = host or "OpenAI"
        #: Name under which organisations store their keys for this server. Servers have different names, so a
        #: key for OpenAI is never sent to another host.
        self.stored_as = provider_name(entry)

    def of(self, organisation: str) -> Account:
        """Return the account with which this organisation's requests are sent.

        Raises:
            Misconfigured: there is no key, or the stored key cannot be decrypted.
            Unavailable: the database does not answer.
        """
        since, account = self._found.get(organisation, (0.0, None))
        if account is not None and time.monotonic() - since < REMEMBERED_S:
            return account
        own = find_key(
            self._pool, organisation, self.stored_as, None, secret_key=self._entry.settings.secret_key
        )
        account = self._open(own, organisation if own else None)
        self._found[organisation] = (time.monotonic(), account)
        return account

    async def close(self) -> None:
        """Close the connections to the provider."""
        for account in self._accounts.values():
            await account.client.close()

    def _open(self, own: Secret | None, organisation: str | None) -> Account:
        key = own or self._operators()
        with self._lock:
            if (organisation, key) not in self._accounts:
                variable = self._entry.options.key_env
                shared = f"the key in {variable}" if variable else "the cluster (no key_env is set)"
                self._accounts[organisation, key] = Account(
                    provider=self._provider,
                    whose_key=f"the key of organisation {organisation}" if organisation else shared,
                    key=key,
                    client=self._client(key),
                    budget=self._budget(organisation),
                )
            return self._accounts[organisation, key]

    def _operators(self) -> Secret:
        variable, options = self._entry.options.key_env, self._entry.options
        if variable is None:
            if options.base_url is None:
                raise Misconfigured(
                    f"CLUSTER_MODELS: {self._entry.name} has no key_env, and OpenAI needs a key; name the "
                    "environment variable that holds it, such as OPENAI_API_KEY"
                )
            return Secret("")
        if key := os.environ.get(variable, "").strip():
            return Secret(key)
        raise Misconfigured(
            f"the environment variable {variable} is not set, and {self._entry.name} takes its key from it; "
            "set it for every node, or store a key for the organisation as "
            f"{self.stored_as} (python -m cluster.secrets)"
        )

    def _client(self, key: Secret) -> AsyncOpenAI:
        # The client's own retries are off, because ``requests`` and ``batch_api`` repeat failed requests.
        client = AsyncOpenAI(
            api_key=key.reveal() or NO_KEY,
            base_url=self._entry.options.base_url or OPENAI_URL,
            max_retries=0,
            timeout=Timeout(REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        )
        # The client reads these two values from the environment. The values may belong to another key, so
        # remove both.
        client.organization = client.project = None
        return client

    def _budget(self, organisation: str | None) -> SharedBudget | None:
        options, name = self._entry.options, f"openai:{self._entry.name}"
        limits = {"requests": options.requests_per_minute, "tokens": options.tokens_per_minute}
        given = {name: (limit, MINUTE_S) for name, limit in limits.items() if limit is not None}
        if not given:
            return None
        return SharedBudget(
            self._pool,
            name if organisation is None else f"{name}:{organisation}",
            given,
            weights=self._entry.settings.organisation_weights,
        )


def provider_name(entry: ModelEntry) -> str:
    """Return the name under which an organisation stores its key for this model's server."""
    host = urlsplit(entry.options.base_url or "").netloc.lower()
    return f"openai-{re.sub('[^a-z0-9]+', '-', host).strip('-')}"[:64] if host else "openai"
