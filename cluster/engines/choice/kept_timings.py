"""Keep the timings of a machine's numeric paths under ``CLUSTER_HOME/engines``, one file per shape of model.

    timings = timings_of(folder, settings, threads=2, paths=candidates, measured=lambda: measure(...))

A file names the processor, the shape of the model, the version of torch, the code of the forward passes, the
number of threads and the paths, and is valid only for these. If the file is missing, damaged or not valid,
the paths are timed again and the file is replaced in one step. If two processes time the paths at the same
time, the process that ends later uses the timings of the process that ended earlier.
"""

import json
import os
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cache
from hashlib import blake2b
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import structlog
import torch

from cluster.engines.bert.compiled import LIBRARY
from cluster.engines.choice.paths import NumericPath, Timings
from cluster.engines.choice.processor import description
from cluster.engines.families import family_of
from cluster.engines.weights import ModelFolder
from cluster.records import digest
from cluster.settings import Settings

log = structlog.get_logger(__name__)

#: Files with the code whose speed is measured, and with the code that measures the speed. ``_code`` adds the
#: library of the compiled forward pass.
CODE = (
    *("bert/attention.py", "bert/forward.py", "bert/compiled.py", "bert/int8.py", "bert/linear.py"),
    *("choice/paths.py", "choice/timing.py"),
)
#: Environment variables that change which instructions the libraries use.
LIMITS = (
    "ATEN_CPU_CAPABILITY",
    "DNNL_MAX_CPU_ISA",
    "ONEDNN_MAX_CPU_ISA",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS",
)


def timings_of(
    folder: ModelFolder,
    settings: Settings,
    *,
    threads: int,
    paths: Sequence[NumericPath],
    measured: Callable[[], Timings],
) -> Timings:
    """Return the stored timings for this model and machine.

    If there are no stored timings, call ``measured``, and store and return its timings.
    """
    conditions = _conditions(folder, threads, paths)
    file = settings.home / "engines" / f"{digest(json.dumps(conditions), size=8)}.json"
    kept = _read(file, conditions)
    if kept is not None:
        return kept
    timings = measured()
    # Another process may have stored timings during the measurement. Use the stored timings, so that both
    # processes choose the same paths.
    timings = _read(file, conditions) or timings
    log.info("paths_timed", file=str(file), **_rounded(timings))
    try:
        _write(file, conditions, timings)
    except OSError as exc:
        log.warning(
            "timings_not_kept",
            file=str(file),
            because=str(exc),
            effect="each opening of the model measures again",
        )
    return timings


def _conditions(folder: ModelFolder, threads: int, paths: Sequence[NumericPath]) -> dict[str, Any]:
    family = family_of(folder.config)
    assert family is not None  # checked by ``forward.supports``
    shape = [
        folder.config[key]
        for key in (family.hidden, family.inner, family.heads, family.depth, family.activation)
    ]
    return {
        "processor": description() or [platform.machine(), platform.processor()],
        "model": [folder.config["model_type"], *shape],
        "torch": [torch.__version__, torch.backends.cpu.get_cpu_capability()],
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
        "engine": _code(),
        "threads": threads,
        "paths": list(paths),
    }


@cache
def _code() -> str:
    """Return a digest of the files in ``CODE`` and of the compiled library."""
    folder, compiled = Path(__file__).parents[1], find_spec(LIBRARY)
    files = [folder / name for name in CODE]
    if compiled is not None and compiled.origin is not None:
        files.append(Path(compiled.origin))
    state = blake2b(digest_size=8)
    for file in files:
        state.update(file.read_bytes())
    return state.hexdigest()


def _read(file: Path, conditions: Mapping[str, Any]) -> Timings | None:
    """Return the timings in the file. Return None if the file is missing, damaged or for other conditions."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        loads = {
            load: {NumericPath(path): float(ms) for path, ms in kept[load].items()}
            for load in ("query", "batch")
        }
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        log.warning("timings_unreadable", file=str(file), because=str(exc), effect="measured again")
        return None
    complete = all(list(ms) == conditions["paths"] and min(ms.values()) > 0 for ms in loads.values())
    return Timings(**loads) if complete and kept.get("of") == conditions else None


def _write(file: Path, conditions: Mapping[str, Any], timings: Timings) -> None:
    """Write the file in one step, so that no process reads an incomplete file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.stem}-", delete=False
    ) as draft:
        json.dump({"of": conditions, **asdict(timings)}, draft, indent=1)
    try:
        Path(draft.name).replace(file)
    finally:
        Path(draft.name).unlink(missing_ok=True)


def _rounded(timings: Timings) -> dict[str, dict[str, float]]:
    return {
        f"{load}_ms": {path.value: round(ms, 2) for path, ms in of_paths.items()}
        for load, of_paths in asdict(timings).items()
    }
