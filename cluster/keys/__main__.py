"""Runs the command that creates, lists, changes, rotates and revokes the API keys of organisations.

python -m cluster.keys create ci --organisation acme --scope read
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from psycopg import Connection
from rich.console import Console
from rich.markup import escape

from cluster.command import add_subcommand, given_options, or_unset, run_subcommand
from cluster.database import in_one_transaction
from cluster.database.paging import read_all
from cluster.keys import api_keys
from cluster.keys.api_keys import DEFAULT_SCOPES, ApiKey, IssuedKey, NewKey
from cluster.keys.key_limits import LIMITS
from cluster.organisations.caller import Scope, acting_as, command_user
from cluster.organisations.organisations import ensure_organisation
from cluster.settings import Settings

T = TypeVar("T")

#: What each limit of a key means.
MEANINGS = {
    "requests_per_minute": "maximum requests a minute",
    "tokens_per_minute": "maximum tokens a minute",
    "jobs_limit": "maximum unfinished jobs that the key asked for",
    "files_limit": "maximum files that the key created",
    "bytes_limit": "maximum bytes of these files",
    "vectors_limit": "maximum vectors in the stores that the key created",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with acting_as(command_user()):
        return run_subcommand(parser, options)


def _create(settings: Settings, options: argparse.Namespace) -> int:
    new = NewKey(
        name=options.name,
        scopes=frozenset(map(Scope, options.scope or ())) or DEFAULT_SCOPES,
        models=tuple(options.model) if options.model else None,
        stores=tuple(options.store) if options.store else None,
        expires_at=datetime.now(UTC) + timedelta(days=options.days) if options.days else None,
        **given_options(options, LIMITS),
    )
    owner = _organisation(settings, options)
    _show(_in_transaction(settings, lambda connection: api_keys.create_key(connection, owner, new)))
    return 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    owner = _organisation(settings, options)
    keys = _in_transaction(
        settings, lambda connection: read_all(lambda page: api_keys.list_keys(connection, owner, page))
    )
    console = Console(highlight=False, soft_wrap=True)
    for key in keys:
        console.print(escape(_line(key)))
    if not keys:
        console.print(f"{escape(owner)} has no keys")
    return 0


def _set(settings: Settings, options: argparse.Namespace) -> int:
    owner, changes = _organisation(settings, options), given_options(options, LIMITS)
    key = _in_transaction(
        settings, lambda connection: api_keys.change_limits(connection, owner, options.id, changes)
    )
    Console(highlight=False, soft_wrap=True).print(escape(_line(key)))
    return 0


def _rotate(settings: Settings, options: argparse.Namespace) -> int:
    owner = _organisation(settings, options)
    overlap_s = round(options.overlap_hours * 3_600)
    _show(
        _in_transaction(
            settings,
            lambda connection: api_keys.rotate_key(connection, owner, options.id, overlap_s=overlap_s),
        )
    )
    return 0


def _revoke(settings: Settings, options: argparse.Namespace) -> int:
    owner = _organisation(settings, options)
    key = _in_transaction(settings, lambda connection: api_keys.revoke_key(connection, owner, options.id))
    print(f"key {key.id} ({key.name}) of {owner} is revoked")
    return 0


def _show(issued: IssuedKey) -> None:
    """Print the key on standard output, and everything else on standard error."""
    key = issued.key
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        escape(
            f"{key.id} of {key.organisation}, with the scopes {', '.join(sorted(key.scopes))}. The key is "
            "not stored, so this is the only time that it is shown:"
        )
    )
    print(issued.text)


def _line(key: ApiKey) -> str:
    limits = [
        f"only {what} {', '.join(names)}"
        for what, names in (("models", key.models), ("stores", key.stores))
        if names is not None
    ]
    used = f"last used {_at(key.last_used_at)}" if key.last_used_at else "never used"
    ends = [f"expires {_at(key.expires_at)}"] if key.expires_at else []
    own = [f"{name} {limit:,}" for name in LIMITS if (limit := getattr(key, name)) is not None]
    parts = [
        key.id,
        key.prefix,
        key.status,
        key.name,
        "+".join(sorted(key.scopes)),
        *limits,
        *own,
        used,
        *ends,
    ]
    return "  ".join(parts)


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _organisation(settings: Settings, options: argparse.Namespace) -> str:
    return str(options.organisation or settings.organisation)


def _in_transaction(settings: Settings, work: Callable[[Connection[Any]], T]) -> T:
    def with_own_organisation(connection: Connection[Any]) -> T:
        ensure_organisation(connection, settings.organisation)
        return work(connection)

    return in_one_transaction(settings, with_own_organisation)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.keys",
        description="Create, list, change, rotate and revoke the keys of organisations. A key is shown once, "
        "and stored as a hash. As soon as a key exists, every request needs one.",
        epilog="Settings are environment variables, listed in docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, does: Callable[..., int], help: str) -> argparse.ArgumentParser:
        command = add_subcommand(commands, name, does, help)
        command.add_argument(
            "--organisation", help="whose key it is; without this option CLUSTER_ORGANISATION"
        )
        return command

    create = add("create", _create, "Create a key and print it.")
    create.add_argument("name", help="a name by which people know the key")
    create.add_argument(
        "--scope", action="append", choices=list(Scope), help="repeatable; without it read and write"
    )
    create.add_argument("--model", action="append", help="the only models that the key may use; repeatable")
    create.add_argument("--store", action="append", help="ids of the only vector stores; repeatable")
    create.add_argument("--days", type=float, help="days after which the key expires; without it never")
    add("list", _list, "List keys, without their secrets.")
    change = add("set", _set, "Change limits of a key; limits that are left out keep their values.")
    change.add_argument("id", help="id of the key, from list")
    for command in (create, change):
        for name in LIMITS:
            command.add_argument(
                f"--{name.replace('_', '-')}",
                type=or_unset(int),
                help=f"{MEANINGS[name]}; none: no such limit",
            )
    rotate = add("rotate", _rotate, "Replace a key by a new one with the same properties, and print it.")
    rotate.add_argument("id", help="id of the key, from list")
    rotate.add_argument(
        "--overlap-hours", type=float, default=0.0, help="hours for which the old key continues to work"
    )
    add("revoke", _revoke, "Revoke a key. Every replica refuses it within a second.").add_argument(
        "id", help="id of the key, from list"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
