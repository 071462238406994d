"""Runs the command that creates, lists, shows, changes and deletes organisations.

python -m cluster.organisations create acme --time-zone Europe/Berlin --billing-day 15
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from psycopg import Connection
from rich.console import Console
from rich.markup import escape

from cluster.command import add_subcommand, given_options, or_unset, run_subcommand
from cluster.database import in_one_transaction
from cluster.database.paging import read_all
from cluster.documents.organisation_deletion import deletion_of, request_deletion
from cluster.errors import InvalidInput
from cluster.organisations import rows
from cluster.organisations.caller import acting_as, command_user
from cluster.organisations.rows import OPTIONS, OrganisationOptions, OrganisationRow
from cluster.settings import Settings

#: The limits for which 0 means no limit: name, what is limited, and what applies without a value.
LIMITS = (
    ("files_limit", "files", "the setting"),
    ("bytes_limit", "bytes of files", "the setting"),
    ("requests_per_minute", "requests a minute", "the setting"),
    ("tokens_per_minute", "tokens a minute", "the setting"),
    ("jobs_limit", "unfinished jobs", "no limit"),
    ("vectors_limit", "stored vectors", "no limit"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with acting_as(command_user()):
        return run_subcommand(parser, options)


def _create(settings: Settings, options: argparse.Namespace) -> int:
    wanted = OrganisationOptions(**given_options(options, OPTIONS))
    _show_row(
        in_one_transaction(
            settings, lambda connection: rows.create_organisation(connection, options.id, wanted)
        )
    )
    return 0


def _list(settings: Settings, _: argparse.Namespace) -> int:
    console = Console(highlight=False, soft_wrap=True)
    for row in in_one_transaction(settings, _all):
        state = f"deleted {row.deleted_at:%Y-%m-%d}" if row.deleted_at else row.time_zone
        console.print(escape(f"{row.id}  {row.name}  {state}"))
    return 0


def _show(settings: Settings, options: argparse.Namespace) -> int:
    def read(connection: Connection[Any]) -> tuple[OrganisationRow, dict[str, Any] | None]:
        row = rows.get_organisation(connection, options.id)
        return row, deletion_of(connection, row)

    row, deletion = in_one_transaction(settings, read)
    _show_row(row)
    if deletion is not None:
        print(json.dumps({"deletion": deletion}, indent=2))
    return 0


def _set(settings: Settings, options: argparse.Namespace) -> int:
    changes = given_options(options, OPTIONS)
    _show_row(
        in_one_transaction(
            settings, lambda connection: rows.change_organisation(connection, options.id, changes)
        )
    )
    return 0


def _delete(settings: Settings, options: argparse.Namespace) -> int:
    if not options.yes:
        raise InvalidInput(
            f"everything that organisation {options.id} owns would be deleted; repeat the command with --yes"
        )
    job = in_one_transaction(
        settings,
        lambda connection: request_deletion(connection, options.id, default=settings.organisation),
    )
    print(f"requests of {options.id} are refused from now on; job {job.id} deletes what it owns")
    return 0


def _all(connection: Connection[Any]) -> list[OrganisationRow]:
    return read_all(lambda page: rows.list_organisations(connection, page), newest_first=False)


def _show_row(row: OrganisationRow) -> None:
    shown = {name: str(value) if hasattr(value, "year") else value for name, value in asdict(row).items()}
    print(json.dumps({"id": row.id, **shown}, indent=2, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.organisations",
        description="Create, list, show, change and delete organisations.",
        epilog="Settings are environment variables, listed in docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, does: Callable[..., int], help: str) -> argparse.ArgumentParser:
        command = add_subcommand(commands, name, does, help)
        if name != "list":
            command.add_argument("id", help="id of the organisation")
        return command

    for command in (
        add("create", _create, "Create an organisation."),
        add("set", _set, "Change an organisation; options that are left out keep their values."),
    ):
        command.add_argument("--name", help="a name for people; without it the id")
        command.add_argument("--time-zone", help="IANA name, such as Europe/Berlin")
        command.add_argument("--billing-day", type=int, help="day of the month, 1 to 28")
        command.add_argument(
            "--weight", type=or_unset(float), help="share of a model's time; none: the setting"
        )
        command.add_argument(
            "--concurrency-limit",
            type=or_unset(int),
            help="maximum number of jobs of one priority class at once; none: no limit",
        )
        for limit, what, unset in LIMITS:
            command.add_argument(
                f"--{limit.replace('_', '-')}",
                type=or_unset(int),
                help=f"maximum {what}; 0: no limit; none: {unset}",
            )
    add("list", _list, "List organisations.")
    add("show", _show, "Show an organisation, and the state of its deletion.")
    add("delete", _delete, "Delete an organisation and everything that it owns.").add_argument(
        "--yes", action="store_true", help="do it"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
