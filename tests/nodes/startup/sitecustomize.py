"""Adds the kind of ``tests.nodes.sleeping_engine`` to the registry of engines, in every Python process.

Python imports this module at its start if PYTHONPATH names this folder. The kind is added when a process
imports the registry, so that other processes start as fast as before.
"""

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

REGISTRY = "cluster.engines.registry"


class RegistryFinder(MetaPathFinder):
    """Finds the registry, and lets ``RegistryLoader`` load it."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != REGISTRY:
            return None
        sys.meta_path.remove(self)
        found = PathFinder.find_spec(fullname, path)  # type: ignore[arg-type]
        if found is not None and found.loader is not None:
            found.loader = RegistryLoader(found.loader)
        return found


class RegistryLoader(Loader):
    """Loads the registry, and then adds the kind."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        from tests.nodes.sleeping_engine import register

        register()


sys.meta_path.insert(0, RegistryFinder())
