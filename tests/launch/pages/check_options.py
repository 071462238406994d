"""Checks the options of a command without running the command: ``check_options MODULE OPTION ...``."""

import sys
from argparse import ArgumentParser
from importlib import import_module
from typing import Any


def stop_after_parsing(parse_args: Any) -> Any:
    """Return a ``parse_args`` that ends the process if the options are right."""

    def parse(parser: ArgumentParser, given: list[str] | None = None, namespace: Any = None) -> None:
        parse_args(parser, given, namespace)
        sys.exit(0)

    return parse


if __name__ == "__main__":
    _, module, *sys.argv[1:] = sys.argv
    ArgumentParser.parse_args = stop_after_parsing(ArgumentParser.parse_args)  # type: ignore[method-assign]
    imported = import_module(module)
    if not hasattr(imported, "main"):
        imported = import_module(f"{module}.__main__")
    imported.main()
    sys.exit(f"{module} read no options")
