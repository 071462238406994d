"""Find the models that this cluster serves by name, and open each model with its kind of engine.

Only this module combines the settings ``model``, ``model_path``, ``model_sha256`` and ``models``. The
endpoint, the workers, the bulk jobs and the doctor call this module. To add a kind of engine, write one file,
such as ``local_kind.py``, and add one row to ``KINDS``.

    registry = Registry(settings)
    entry = registry.of(store.fingerprint)       # the model that a vector store was built with
    describe(entry).dim                          # loads no weights
    open_engine(entry).embed(["a text"])
"""

from collections.abc import Mapping
from types import MappingProxyType

from cluster.engines.contract import (
    Engine,
    EngineKind,
    Fingerprint,
    ModelEntry,
    ModelProperties,
    Tokeniser,
)
from cluster.engines.local_kind import LocalKind
from cluster.engines.openai.kind import OpenAIKind
from cluster.engines.sentence_transformers_kind import SentenceTransformersKind
from cluster.errors import Conflict, InvalidInput, Misconfigured
from cluster.settings import Settings
from cluster.settings.models import PLACEMENT, ModelOptions, ModelSetting

#: A request for a new vector store has this word instead of a model's name if callers give the vectors. No
#: model can have this name.
NO_MODEL = "none"
#: Each kind of engine by the word before the colon in ``CLUSTER_MODELS``. A folder without such a word has
#: the kind ``local``.
KINDS: dict[str, EngineKind] = {
    "local": LocalKind(),
    "sentence-transformers": SentenceTransformersKind(),
    "openai": OpenAIKind(),
}


class Registry:
    """The models of the settings, by name. Creating a registry opens no model and reads no file."""

    def __init__(self, settings: Settings) -> None:
        """Read the models from the settings.

        Raises:
            Misconfigured: a model has a name that is not allowed, a kind that does not exist or an option
                that the model cannot have, or the default model has two sources.
        """
        #: The models by name: first the default model, then all other models in the order of the settings.
        self.entries: Mapping[str, ModelEntry] = MappingProxyType(_entries(settings))
        #: The model for new vector stores and requests that do not name a model.
        self.default: ModelEntry = self.entries[settings.model]

    def named(self, name: str) -> ModelEntry:
        """Return the model with this name.

        Raises:
            InvalidInput: no model has this name; the message lists the names of the models.
        """
        if name not in self.entries:
            raise InvalidInput(
                f"no model named {name} is configured here ({', '.join(self.entries)}); add it to "
                "CLUSTER_MODELS, or name one of these"
            )
        return self.entries[name]

    def of(self, fingerprint: Fingerprint) -> ModelEntry:
        """Return the model that computes vectors with this fingerprint's id.

        Raises:
            Conflict: no model of the registry computes vectors with this id. The message says what to do.
            Misconfigured: the model with the fingerprint's name cannot be described.
        """
        if fingerprint.given:
            raise Conflict(
                "the vector store holds given vectors and has no model: add rows with "
                "POST /v1/vector_stores/{id}/vectors, and search with `vector`"
            )
        entry = self.entries.get(fingerprint.model)
        if entry is None:
            raise Conflict(
                f"the vector store holds vectors of {fingerprint.id}, and no model named {fingerprint.model} "
                "is configured "
                f"here ({', '.join(self.entries)}); add it to CLUSTER_MODELS"
            )
        found = describe(entry).id
        if found != fingerprint.id:
            raise Conflict(
                f"the vector store holds vectors of {fingerprint.id}, but {entry.name} as configured here "
                "computes those of "
                f"{found}; configure the weights that the store was built with, or build a new store"
            )
        return entry


def describe(entry: ModelEntry) -> Fingerprint:
    """Return the model's fingerprint, with the precision of the settings, without opening an engine.

    Raises:
        Misconfigured: the entry does not name a model that can be opened.
    """
    return KINDS[entry.kind].describe(entry)


def properties(entry: ModelEntry) -> ModelProperties:
    """Return the model's prompts and dimensions, without opening an engine.

    Raises:
        Misconfigured: for the same reasons as ``describe``.
    """
    return KINDS[entry.kind].properties(entry)


def open_tokeniser(entry: ModelEntry) -> Tokeniser:
    """Open the model's tokeniser, without opening an engine.

    Raises:
        Misconfigured: for the same reasons as ``describe``.
    """
    return KINDS[entry.kind].open_tokeniser(entry)


def open_engine(entry: ModelEntry) -> Engine:
    """Open the model's engine, ready to embed.

    Raises:
        Misconfigured: for the same reasons as ``describe``, or the engine cannot run with these settings.
    """
    return KINDS[entry.kind].open_engine(entry)


def _entries(settings: Settings) -> dict[str, ModelEntry]:
    if settings.model in settings.models and settings.model_path is not None:
        raise Misconfigured(
            f"CLUSTER_MODEL_PATH and CLUSTER_MODELS both say where {settings.model} is; remove one of the two"
        )
    packaged = None if settings.model_path is None else ModelSetting(source=str(settings.model_path))
    models: dict[str, ModelSetting | None] = {settings.model: packaged, **settings.models}
    if wrong := {"", NO_MODEL} & models.keys():
        raise Misconfigured(f"no model can have the name {wrong.pop()!r}; rename it in CLUSTER_MODELS")
    return {name: _entry(name, model, settings) for name, model in models.items()}


def _entry(name: str, model: ModelSetting | None, settings: Settings) -> ModelEntry:
    """Make the entry of a model.

    Args:
        name: name of the model.
        model: source and options of the model; None for the packaged model.
        settings: settings of this process.
    """
    kind, source = "local", None if model is None else model.source
    if source is not None and not source.startswith("/"):
        kind, _, source = source.partition(":")
    if kind not in KINDS:
        raise Misconfigured(
            f"CLUSTER_MODELS: {name} asks for the kind of engine {kind!r}, and the kinds are "
            f"{', '.join(KINDS)}. "
            "Write a folder whose name holds a colon as an absolute path"
        )
    options = ModelOptions() if model is None else model
    others = sorted(options.given - KINDS[kind].options)
    if others:
        raise Misconfigured(
            f"CLUSTER_MODELS: {name} is of the kind {kind}, which does not take {', '.join(others)}; "
            f"it takes {', '.join(sorted(KINDS[kind].options)) or 'no options'}"
        )
    is_default = name == settings.model
    if is_default and options.own_deployment:
        raise Misconfigured(
            f"CLUSTER_MODELS: {name} is the default model, which runs in the endpoint's replicas; set "
            "CLUSTER_MIN_REPLICAS, CLUSTER_MAX_REPLICAS, CLUSTER_GPUS_PER_ENGINE_PROCESS and "
            "CLUSTER_MEMORY_PER_REPLICA_GIB instead of "
            f"{', '.join(sorted(options.given & PLACEMENT))}"
        )
    sha256 = settings.model_sha256 if is_default else None
    return ModelEntry(name=name, kind=kind, source=source, sha256=sha256, options=options, settings=settings)
