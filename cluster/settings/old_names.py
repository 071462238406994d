"""Old names of settings: each one works until release 0.2, with a warning that names the new name.

``Settings`` passes every source of values (keywords, environment variables) through ``with_new_names``.
"""

import difflib
import warnings
from collections.abc import Collection, Mapping
from typing import TypeVar

from cluster.errors import Misconfigured

Value = TypeVar("Value")

#: Old name -> new name. Release 0.2 empties this table.
RENAMED = {
    "batch_tokens": "replica_batch_tokens",
    "cache_bytes": "vector_cache_bytes",
    "cpus_per_embedder": "cpus_per_replica",
    "embedders": "bulk_engines",
    "gpus_per_embedder": "gpus_per_engine_process",
    "index_tries": "index_attempts",
    "max_batch_tokens": "bulk_batch_tokens",
    "stage_tries": "stage_attempts",
    "threads": "engine_threads",
}
#: Processes that are started for the cluster do not inherit these environment variables. They get the
#: variables with the new names instead.
OLD_VARIABLES = frozenset(f"CLUSTER_{old.upper()}" for old in RENAMED)
#: Minimum similarity at which an unknown variable counts as a misspelt setting: one or two letters may
#: differ.
SIMILAR = 0.8


def with_new_names(values: Mapping[str, Value], prefix: str = "") -> dict[str, Value]:
    """Return the values under the settings' new names, and warn of each old name.

    Args:
        values: one source's values by name.
        prefix: prefix of the names in this source: empty, or ``cluster_`` for variables.

    Raises:
        Misconfigured: the old and the new name of a setting have different values.
    """
    found = dict(values)
    for old, new in ((prefix + old, prefix + new) for old, new in RENAMED.items()):
        if old not in found:
            continue
        value, shown_old, shown_new = found.pop(old), _shown(old, prefix), _shown(new, prefix)
        if found.setdefault(new, value) != value:
            raise Misconfigured(
                f"{shown_old} and {shown_new} are one setting and have different values: remove {shown_old}, "
                "its old name"
            )
        _warn(
            f"the setting {shown_old} is now called {shown_new}; the old name works until release 0.2",
            FutureWarning,
        )
    return found


def warn_of_misspelt(variables: Collection[str], names: Collection[str], prefix: str) -> None:
    """Warn of each variable that has the prefix of settings and is not a setting, but whose name is almost
    that of a setting.

    Args:
        variables: names of the environment's variables, in small letters.
        names: the settings' names.
        prefix: ``cluster_``.
    """
    known = {prefix + name for name in names}
    for variable in variables:
        if not variable.startswith(prefix) or variable in known:
            continue
        near = difflib.get_close_matches(variable.removeprefix(prefix), names, n=1, cutoff=SIMILAR)
        if near:
            _warn(
                f"{variable.upper()} is not a setting and has no effect; "
                f"did you mean {(prefix + near[0]).upper()}?",
                UserWarning,
            )


def _warn(message: str, category: type[Warning]) -> None:
    # The place of the warning is the environment, so Python prints no line of code with it.
    warnings.warn_explicit(message, category, filename="settings", lineno=1)


def _shown(name: str, prefix: str) -> str:
    return name.upper() if prefix else name
