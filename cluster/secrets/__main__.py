"""Runs the command that sets, lists and deletes the keys that organisations have for remote providers.

python -m cluster.secrets set openai --organisation acme < key.txt
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from getpass import getpass

from rich.console import Console
from rich.markup import escape

from cluster.command import add_subcommand, run_subcommand
from cluster.database import in_one_transaction
from cluster.errors import InvalidInput
from cluster.secrets import provider_keys, webhook_secrets
from cluster.secrets.cipher import new_key, open_cipher
from cluster.secrets.secret import Secret
from cluster.settings import Settings

#: Maximum number of characters that are read from standard input.
MAX_INPUT_CHARACTERS = 2 * provider_keys.MAX_KEY_CHARACTERS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "new-key":
        print(new_key())
        return 0
    return run_subcommand(parser, options)


def _set(settings: Settings, options: argparse.Namespace) -> int:
    cipher, key = open_cipher(settings.secret_key), _key(options)
    owner = _organisation(settings, options)
    in_one_transaction(
        settings,
        lambda connection: provider_keys.set_key(connection, cipher, owner, options.provider, key),
    )
    print(f"the {options.provider} key of {owner} is set")
    return 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    cipher = open_cipher(settings.secret_key)
    owner = _organisation(settings, options)
    keys = in_one_transaction(settings, lambda connection: provider_keys.list_keys(connection, cipher, owner))
    console = Console(highlight=False, soft_wrap=True)
    for key in keys:
        ending = "cannot be decrypted" if key.ending is None else f"…{key.ending}"
        console.print(escape(f"{key.provider}  set {key.updated_at:%Y-%m-%d %H:%M} UTC  {ending}"))
    if not keys:
        console.print(f"{escape(owner)} has no keys")
    return 0


def _delete(settings: Settings, options: argparse.Namespace) -> int:
    owner = _organisation(settings, options)
    in_one_transaction(
        settings, lambda connection: provider_keys.delete_key(connection, owner, options.provider)
    )
    print(f"the {options.provider} key of {owner} is deleted")
    return 0


def _rotate(settings: Settings, _: argparse.Namespace) -> int:
    cipher = open_cipher(settings.secret_key)
    keys, secrets = in_one_transaction(
        settings,
        lambda connection: (
            provider_keys.rotate(connection, cipher),
            webhook_secrets.rotate(connection, cipher),
        ),
    )
    print(
        f"{keys} keys and {secrets} secrets of webhooks are encrypted "
        "with the first key of CLUSTER_SECRET_KEY"
    )
    return 0


def _key(options: argparse.Namespace) -> Secret:
    if options.from_env:
        text = os.environ.get(options.from_env, "")
        if not text:
            raise InvalidInput(f"the environment variable {options.from_env} is not set")
    elif sys.stdin.isatty():
        text = getpass("key (not shown): ")
    else:
        text = sys.stdin.read(MAX_INPUT_CHARACTERS)
    return Secret(text.strip())


def _organisation(settings: Settings, options: argparse.Namespace) -> str:
    return str(options.organisation or settings.organisation)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.secrets",
        description="Set, list and delete the keys that organisations have with remote providers. Keys are "
        "encrypted with CLUSTER_SECRET_KEY, and are never read from the command line.",
        epilog="Settings are environment variables, listed in docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, does: Callable[..., int] | None, help: str) -> argparse.ArgumentParser:
        command = add_subcommand(commands, name, does, help)
        if name in {"set", "delete"}:
            command.add_argument("provider", help="kind of the provider, such as openai or pinecone")
        if name in {"set", "list", "delete"}:
            command.add_argument(
                "--organisation", help="organisation that owns the key (default: CLUSTER_ORGANISATION)"
            )
        return command

    add("set", _set, "Store a key that is read from standard input.").add_argument(
        "--from-env", metavar="NAME", help="read the key from this environment variable instead"
    )
    add("list", _list, "List keys: provider, date and the last four characters.")
    add("delete", _delete, "Delete a key.")
    add(
        "rotate",
        _rotate,
        "Encrypt keys and webhook secrets again, with the first key of CLUSTER_SECRET_KEY.",
    )
    add("new-key", None, "Print a new random key for CLUSTER_SECRET_KEY.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
