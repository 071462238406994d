"""Runs the command that creates, lists, shows, changes and deletes the budgets of organisations.

python -m cluster.budgets create --organisation acme --unit usd --period month --warn-at 80 --stop-at 100
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from psycopg import Connection
from rich.console import Console
from rich.markup import escape

from cluster.budgets import budgets
from cluster.budgets.budgets import LIMITS, Budget, NewBudget, Period, Unit
from cluster.command import add_subcommand, given_options, or_unset, run_subcommand
from cluster.database import in_one_transaction
from cluster.organisations.caller import acting_as, command_user
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with acting_as(command_user()):
        return run_subcommand(parser, options)


def _create(settings: Settings, options: argparse.Namespace) -> int:
    new = NewBudget(
        unit=Unit(options.unit),
        period=Period(options.period),
        key=options.key,
        agent=options.agent,
        **given_options(options, LIMITS),
    )
    owner = _owner(settings, options)

    def create(connection: Connection[Any]) -> Budget:
        ensure_organisation(connection, settings.organisation)
        return budgets.create_budget(connection, owner, new)

    _show_budget(in_one_transaction(settings, create))
    return 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    owner = _owner(settings, options)
    found = in_one_transaction(settings, lambda connection: budgets.budgets_of(connection, owner))
    console = Console(highlight=False, soft_wrap=True)
    for budget in found:
        console.print(escape(_line(budget)))
    if not found:
        console.print(f"{escape(owner)} has no budgets")
    return 0


def _show(settings: Settings, options: argparse.Namespace) -> int:
    owner = _owner(settings, options)
    _show_budget(
        in_one_transaction(settings, lambda connection: budgets.get_budget(connection, owner, options.id))
    )
    return 0


def _set(settings: Settings, options: argparse.Namespace) -> int:
    owner, changes = _owner(settings, options), given_options(options, LIMITS)
    _show_budget(
        in_one_transaction(
            settings, lambda connection: budgets.change_budget(connection, owner, options.id, changes)
        )
    )
    return 0


def _delete(settings: Settings, options: argparse.Namespace) -> int:
    owner = _owner(settings, options)
    in_one_transaction(settings, lambda connection: budgets.delete_budget(connection, owner, options.id))
    print(f"budget {options.id} of {owner} is deleted")
    return 0


def _line(budget: Budget) -> str:
    of = [f"only {what} {id}" for what, id in (("key", budget.key), ("agent", budget.agent)) if id]
    limits = [
        f"{verb} {budget.shown(amount)}"
        for verb, amount in (("warns at", budget.warn_at), ("stops at", budget.stop_at))
        if amount is not None
    ]
    parts = [
        budget.id,
        *([budget.name] if budget.name else []),
        f"each {budget.period}",
        *of,
        *limits,
        f"used {budget.shown(budget.used)}",
        f"reserved {budget.shown(budget.reserved)}",
        f"renews {budget.renews}",
    ]
    return "  ".join(parts)


def _show_budget(budget: Budget) -> None:
    shown = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(budget).items()
    }
    shown = {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in shown.items()}
    print(json.dumps({"id": budget.id, **shown}, indent=2, ensure_ascii=False))


def _owner(settings: Settings, options: argparse.Namespace) -> str:
    return str(options.organisation or settings.organisation)


def _amount(text: str) -> Decimal:
    try:
        return Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.budgets",
        description="Create, list, show, change and delete the budgets of organisations.",
        epilog="Settings are environment variables, listed in docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, does: Callable[..., int], help: str) -> argparse.ArgumentParser:
        command = add_subcommand(commands, name, does, help)
        command.add_argument(
            "--organisation", help="whose budget it is; without this option CLUSTER_ORGANISATION"
        )
        if name in {"show", "set", "delete"}:
            command.add_argument("id", help="id of the budget, from list")
        return command

    create = add("create", _create, "Create a budget.")
    create.add_argument("--unit", choices=list(Unit), required=True, help="tokens, or US dollars")
    create.add_argument(
        "--period", choices=list(Period), required=True, help="the time after which the budget renews"
    )
    create.add_argument("--key", help="id of the only API key whose work counts")
    create.add_argument("--agent", help="id of the only agent whose work counts")
    change = add("set", _set, "Change a budget; options that are left out keep their values.")
    for command in (create, change):
        command.add_argument("--name", help="a name for people")
        command.add_argument(
            "--warn-at",
            type=or_unset(_amount),
            help="used amount at which a warning is sent; none: no warning",
        )
        command.add_argument(
            "--stop-at",
            type=or_unset(_amount),
            help="amount beyond which work is refused; none: nothing is refused",
        )
    add("list", _list, "List the budgets of an organisation, with what they have used.")
    add("show", _show, "Show a budget, with what it has used.")
    add("delete", _delete, "Delete a budget.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
