"""The service of a replica holds the models, the database connections and the blob store for the routes.

Each replica creates one service (see ``deployment``), and all routes of the replica share it.

    service = Service(settings)
    made = await service.models.named("all-MiniLM-L6-v2").embed_texts(["a text"], context)
    file = await service.in_transaction(lambda connection: get_file(connection, organisation, id))
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any, ParamSpec, TypeVar

from psycopg import Connection

from cluster.blobs import open_blob_store
from cluster.budgets.reservations import HeldReservation, release_held
from cluster.chat import ChatModels
from cluster.database import connect, for_all_organisations
from cluster.database.shortages import announced
from cluster.documents.chunks.chunk_indexes import require_index
from cluster.documents.vector_stores.stores import VectorStore
from cluster.errors import Resource, Shortage
from cluster.keys.known_keys import KnownKeys
from cluster.oidc.tokens import IssuerTokens
from cluster.outbound import AsyncOutboundClient
from cluster.page_pictures.page_pictures import PagePictures
from cluster.precomputed import ContextLookup
from cluster.rate_limits import ProviderLoad, breaker_states, provider_load
from cluster.rate_limits.leased_rates import LeasedRates
from cluster.retrieval import ResultCache
from cluster.settings import Settings, is_loopback
from cluster.usage.events import UsageEvent, record_usage
from serve_app.chat.answer_stats import AnswerStats
from serve_app.chat.chat_costs import with_chat_costs
from serve_app.chat.chat_stats import ChatStats
from serve_app.database_access import DatabaseAccess
from serve_app.embedding.admission import Admission
from serve_app.embedding.budget_gate import BudgetGate
from serve_app.embedding.openai_tokens import open_openai_tokens
from serve_app.embedding.rate_gate import RateGate
from serve_app.embedding.remote_model import CallReplica
from serve_app.embedding.served_models import ServedModels
from serve_app.request_counts import RequestCounts
from serve_app.usage.usage_recorder import UsageRecorder

T = TypeVar("T")
P = ParamSpec("P")

#: Number of threads that write or read blobs. Blobs, the database and tokenising use different threads,
#: because calls that wait for a lost database must not delay blobs or tokenising.
BLOB_THREADS = 8


class Service(DatabaseAccess):
    """Holds the models, the database connections and the other parts that all routes use.

    Args:
        settings: the settings of this process.
        remote: for each model with its own deployment, by name, a function that calls a replica of it.
        keyless: False if other machines can connect, so that every request needs a key.
    """

    def __init__(
        self,
        settings: Settings,
        remote: Mapping[str, CallReplica] | None = None,
        *,
        keyless: bool = True,
    ) -> None:
        super().__init__(settings)
        #: Finds the caller of each request by the API key of the request.
        self.keys = KnownKeys(
            settings, open_database=self._opened, keyless=keyless and is_loopback(settings.api_host)
        )
        #: Finds the caller of each request with a token; None if there is no issuer of tokens.
        self.tokens = None if settings.oidc_issuer is None else IssuerTokens(settings, self.keys.rates_of)
        #: Records the usage of requests.
        self.usage = UsageRecorder(
            self._record_usage, settings.home / "usage", max_bytes=settings.usage_bytes
        )
        #: Keeps the rates of organisations and keys.
        self.rates = RateGate(LeasedRates(lambda: connect(settings)))
        #: Refuses work that a budget does not cover.
        self.budgets = BudgetGate(self.in_transaction, self.keys.has_stops, self.usage.settle)
        #: Admits requests and the work of models, before either costs anything.
        self.admission = Admission([self.rates, self.budgets])
        self.models = ServedModels(
            settings, self.usage, remote, weights=self.keys.weights, admission=self.admission
        )
        #: Results of searches; used on the event loop only.
        self.search_cache = ResultCache(settings.search_cache_bytes)
        #: Sources of frequent questions of agents; used on the event loop only.
        self.contexts = ContextLookup(self.in_database, similarity=settings.context_similarity)
        #: The number of requests of the last minutes. The edge counts each request.
        self.requests = RequestCounts()
        #: A request holds this semaphore while it computes an embedding map. Only one map is computed at a
        #: time, because the models need the cores.
        self.map_turn = asyncio.Semaphore(1)
        self.pictures = PagePictures(settings)
        self.chat_stats = ChatStats()
        self.answer_stats = AnswerStats()
        #: The chat models; false if there is none. Used on the event loop only.
        self.chat = ChatModels(settings, observer=self.chat_stats)
        self.decode = open_openai_tokens(settings)
        self.blobs = open_blob_store(settings)
        self._blob_threads = ThreadPoolExecutor(BLOB_THREADS, "blobs")

    @cached_property
    def outbound(self) -> AsyncOutboundClient:
        """The client that sends requests to URLs that callers name."""
        return AsyncOutboundClient(self.settings)

    def max_chunk_tokens(self, store: VectorStore) -> int:
        """Return the maximum number of tokens of a chunk. The number includes special tokens if this process
        does not serve the store's model.
        """
        model = self.models.find(store.fingerprint.id)
        return store.fingerprint.max_tokens if model is None else model.max_content_tokens

    def require_configured(self, store: VectorStore) -> None:
        """Check that this process can write to the store: the model and the index of the store must be
        configured.

        Raises:
            Conflict: the model or the index is not configured. The message says what to set.
        """
        self.models.of_store(store.fingerprint)
        require_index(self.settings, store)

    async def on_blobs(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work on the blob store in a thread. Return only after the work has ended, even if the caller is
        cancelled.
        """
        future = asyncio.get_running_loop().run_in_executor(self._blob_threads, lambda: work(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except Shortage as exc:
            self._met(exc)
            raise
        except asyncio.CancelledError:
            # Wait until the thread ends, because the thread cannot be stopped, and the caller will remove the
            # file that the thread writes.
            await asyncio.wait([future])
            if not future.cancelled():
                future.exception()
            raise

    async def shortages(self) -> set[Resource]:
        """Return the current shortages that workers announce or that this replica met recently.

        Raises:
            Unavailable: the database does not answer.
        """
        return self.recent_shortages() | await self.read(announced)

    async def unavailable_providers(self) -> dict[str, str]:
        """Return a sentence for each remote provider whose circuit breaker is open, by the provider's name.

        Raises:
            Unavailable: the database does not answer.
        """
        return {state.name: state.sentence for state in await self.read(breaker_states) if state.open}

    def known_shortages(self) -> set[Resource]:
        """Return the current shortages; if the database does not answer, only the shortages that this replica
        met. The thread of the metrics calls this method.
        """
        return self.recent_shortages() | (self.read_now(announced) or set())

    def known_provider_load(self) -> ProviderLoad | None:
        """Return the load of remote providers; None if the database does not answer or is not open yet. The
        thread of the metrics calls this method.
        """
        return self.read_now(provider_load)

    def close(self) -> None:
        """Write the uses of keys and the usage, then close the connections and end the threads."""
        self.keys.close()
        self.rates.close()
        self.usage.close()
        self.models.close()
        self._blob_threads.shutdown()
        self.close_database()

    def _record_usage(self, events: Sequence[UsageEvent], held: Sequence[HeldReservation] = ()) -> None:
        def write(connection: Connection[Any]) -> None:
            record_usage(connection, with_chat_costs(self.settings.chat_models, events))
            release_held(connection, held)

        with for_all_organisations():  # a thread of the replica writes the usage of all its requests
            self._transact(write)
        if held:
            self.budgets.returned(held)
