"""Holds the code that all commands share, which reads the settings, prints errors, and returns exit codes.

sys.exit(run(lambda settings: 0, Console(stderr=True), log_level="WARNING"))
"""

import argparse
from collections.abc import Callable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import SettingsError
from rich.console import Console
from rich.markup import escape

from cluster.errors import ClusterError, Misconfigured
from cluster.logs import configure
from cluster.settings import Settings

EXIT_FAILED, EXIT_USAGE = 1, 2
#: This word in place of a value removes the value of an option.
UNSET = "none"


def run(command: Callable[[Settings], int], console: Console, *, log_level: str) -> int:
    """Run a command with the settings of this environment, and return the exit code of the command or of its
    error.

    Args:
        command: takes the settings and returns an exit code.
        console: receives a line with the error if the command fails.
        log_level: lowest level that is logged while the command runs.
    """
    try:
        settings = read_settings()
    except Misconfigured as exc:
        console.print(f"[red]wrong settings:[/] {escape(str(exc))}", soft_wrap=True)
        return EXIT_USAGE
    configure(settings.model_copy(update={"log_level": log_level}))
    try:
        return command(settings)
    except ClusterError as exc:
        console.print(f"[red]failed:[/] {escape(str(exc))}", soft_wrap=True)
        return EXIT_FAILED


def run_subcommand(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Run the subcommand that a person chose, and return the exit code. Without a subcommand, show the help.

    Args:
        parser: shows the help.
        options: ``command`` is the name of the subcommand or None; ``does`` is a function that takes the
            settings and these options, and returns an exit code.
    """
    if options.command is None:
        parser.print_help()
        return EXIT_USAGE
    does: Callable[[Settings, argparse.Namespace], int] = options.does
    errors = Console(stderr=True, highlight=False)
    return run(lambda settings: does(settings, options), errors, log_level="ERROR")


def add_subcommand(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    does: Callable[..., Any] | None,
    help: str,
) -> argparse.ArgumentParser:
    """Add a subcommand, and return its parser.

    Args:
        commands: the subcommands of the command.
        does: the subcommand's function, which ``run_subcommand`` calls.
        help: one sentence for the help of the command and of the subcommand.
    """
    command = commands.add_parser(name, help=help, description=help)
    command.set_defaults(does=does)
    return command


def or_unset(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a type of an option that takes the values of ``convert`` and the word ``none``."""

    def read(text: str) -> Any:
        return text if text == UNSET else convert(text)

    read.__name__ = convert.__name__  # errors of argparse contain this name
    return read


def given_options(options: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    """Return the options with these names that the command line has. An option with the word ``none`` has the
    value None.
    """
    given = {name: value for name in names if (value := getattr(options, name)) is not None}
    return {name: None if value == UNSET else value for name, value in given.items()}


def read_settings(*, organisation: str | None = None, **options: str | None) -> Settings:
    """Return the settings of this environment.

    Args:
        organisation: if given, replaces CLUSTER_ORGANISATION.
        options: values for other settings, by the name of the setting. A value that is not None replaces the
            setting.

    Raises:
        Misconfigured: settings are wrong; the message names each wrong setting and says what is wrong with
            it.
    """
    try:
        given: dict[str, Any] = {"organisation": organisation, **options}
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as exc:
        raise Misconfigured("; ".join(map(_sentence, exc.errors()))) from exc
    except SettingsError as exc:  # a value is not JSON; the cause says at which position
        raise Misconfigured(f"{exc}: {exc.__cause__}") from exc


def _sentence(error: ErrorDetails) -> str:
    message = error["msg"].removeprefix("Value error, ")
    # The error of a check of several settings has no location; its message names the settings.
    setting, *inside = map(str, error["loc"] or [""])
    name = f"CLUSTER_{setting.upper()}" if setting else ""
    return ": ".join(filter(None, [name, ".".join(inside), message]))
