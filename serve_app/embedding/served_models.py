"""Holds the models of a replica, and finds a model by name, by fingerprint, or as the default.

models = ServedModels(settings, usage)
model = models.named("all-MiniLM-L6-v2")
"""

from collections.abc import Iterator, Mapping

from cluster.engines import Engine, Fingerprint, ProviderEngine, Registry, open_engine, open_reranker
from cluster.errors import Conflict, NotFound
from cluster.organisations.caller import require_model
from cluster.settings import Settings
from serve_app.embedding.admission import Admission
from serve_app.embedding.remote_model import CallReplica
from serve_app.embedding.served_model import ServedModel
from serve_app.usage.usage_recorder import UsageRecorder


class ModelNotFound(NotFound):
    """Raised if the request names a model that this endpoint does not serve.

    Args:
        message: a sentence that names the served models.
        param: the field of the request that names the model.
    """

    def __init__(self, message: str, *, param: str = "model") -> None:
        super().__init__(message)
        self.param = param


class ServedModels(Mapping[str, ServedModel]):
    """The served models by name. The default model is the first.

    Args:
        settings: the settings that name the models.
        usage: records the tokens that the models read.
        remote: for each model with its own deployment, by name, a function that calls a replica of the model.
            All other models are opened in this process.
        weights: as in ``served_model.open_batcher``.
        admission: admits the tokens of each request before a model reads them.
    """

    def __init__(
        self,
        settings: Settings,
        usage: UsageRecorder,
        remote: Mapping[str, CallReplica] | None = None,
        *,
        weights: Mapping[str, float] | None = None,
        admission: Admission | None = None,
    ) -> None:
        self._registry = registry = Registry(settings)
        remote = remote or {}
        self.admission = admission or Admission()
        #: The kind of engine of each model, by the name of the model.
        self.kinds: Mapping[str, str] = {name: entry.kind for name, entry in registry.entries.items()}
        #: The engines of this process, by the name of the model.
        self.engines: Mapping[str, Engine] = {
            entry.name: open_engine(entry) for entry in registry.entries.values() if entry.name not in remote
        }
        self._by_name = {
            name: ServedModel.remote(entry, remote[name], usage, self.admission)
            if name in remote
            else ServedModel.local(name, self.engines[name], settings, usage, weights, self.admission)
            for name, entry in registry.entries.items()
        }
        self._by_fingerprint = {model.engine.fingerprint.id: model for model in self._by_name.values()}
        #: The model for new vector stores, and for requests that name no model.
        self.default = self._by_name[registry.default.name]
        #: The cross-encoder; None: the embedding model ranks documents.
        self.reranker = open_reranker(settings)
        self.usage = usage

    def __getitem__(self, name: str) -> ServedModel:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    @property
    def remote_requests(self) -> int:
        """Number of HTTP requests that wait for replicas of other deployments."""
        return sum(model.waiting_requests for name, model in self.items() if name not in self.engines)

    def named(self, name: str, *, param: str = "model") -> ServedModel:
        """Return the model with this name.

        Args:
            name: name of the model.
            param: the field of the request that names the model, for the error.

        Raises:
            ModelNotFound: no such model is served; the message names the served models.
            NotPermitted: the caller's key does not allow the model.
        """
        if name not in self._by_name:
            served = " and ".join(f"`{one}`" for one in self._by_name)
            verb = "does" if len(self) == 1 else "do"
            raise ModelNotFound(f"The model `{name}` does not exist here; {served} {verb}.", param=param)
        require_model(name)
        return self._by_name[name]

    def of_store(self, fingerprint: Fingerprint) -> ServedModel:
        """Return the model of a vector store with this fingerprint.

        Raises:
            Conflict: no served model computes the vectors of the store. The message names the store's model
                and what to set.
            NotPermitted: the caller's key does not allow the model.
        """
        model = self.find(fingerprint.id)
        if model is None:
            # This raises Conflict, unless the files of the model changed after this replica had opened them.
            self._registry.of(fingerprint)
            model = self.of_fingerprint(fingerprint.id)
        require_model(model.name)
        return model

    def of_fingerprint(self, fingerprint: str) -> ServedModel:
        """Return the model whose fingerprint has this id.

        Raises:
            Conflict: this replica serves no such model, for example during a rolling update to another model.
        """
        model = self.find(fingerprint)
        if model is None:
            raise Conflict(
                f"vectors of {fingerprint} are requested, but this replica computes those of "
                f"{', '.join(self._by_fingerprint)}; "
                f"nothing was computed. Serve the model {fingerprint.rpartition('@')[0]} (CLUSTER_MODELS)"
            )
        return model

    def close(self) -> None:
        """Close the connections of engines at a provider."""
        for engine in self.engines.values():
            if isinstance(engine, ProviderEngine):
                engine.close()

    def find(self, fingerprint: str) -> ServedModel | None:
        """Return the model whose fingerprint has this id; None if this replica serves no such model."""
        return self._by_fingerprint.get(fingerprint)
