"""Runs the command that shows what an upgrade will do to the database, and that upgrades the database.

python -m cluster.upgrade
python -m cluster.upgrade --apply
"""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape

from cluster.command import run
from cluster.database import database_url
from cluster.database.bundled import binaries
from cluster.database.migrate import UpgradePlan, migrate, plan
from cluster.settings import Settings

EXIT_CURRENT, EXIT_MISSING = 0, 3  # ``cluster.command`` has the other exit codes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    options = _parser().parse_args(arguments)
    errors = Console(stderr=True, highlight=False)
    return run(lambda settings: _upgrade(settings, options), errors, log_level="ERROR")


def _upgrade(settings: Settings, options: argparse.Namespace) -> int:
    url = database_url(settings)
    planned = plan(url)
    console = Console(highlight=False, soft_wrap=True)
    if options.apply:
        migrate(url)
        console.print(f"The database is upgraded. Applied migrations: {len(planned.missing)}.")
        return EXIT_CURRENT
    if not planned.missing:
        console.print("The database has every migration of this release.")
        return EXIT_CURRENT
    console.print(escape(_text(planned, settings)))
    return EXIT_MISSING


def _text(planned: UpgradePlan, settings: Settings) -> str:
    """Return what a person has to know before the upgrade."""
    changing = set(planned.changing)
    lines = ["The database lacks these migrations of this release:"]
    lines += [f"  {one.name}{'  changes data' if one.name in changing else ''}" for one in planned.missing]
    if planned.applied:
        lines += [
            "An older release cannot use the database after the upgrade. Make a backup first:",
            f"  {_backup_command(settings)}",
            "Also copy the blobs and the archive, after the database (docs/operating.md, Backups).",
        ]
    lines += ["Then upgrade:", "  python -m cluster.upgrade --apply"]
    return "\n".join(lines)


def _backup_command(settings: Settings) -> str:
    """Return the shell command that backs up the database. The command contains no password."""
    if settings.database_url is not None:
        return 'pg_dump --format=custom --file=before-upgrade.dump "$CLUSTER_DATABASE_URL"'
    folder = settings.home / "postgres"
    program = [f'PGPASSWORD=$(cat "{folder}/password")', f'"{binaries.newest()}/pg_dump"']
    server = ["--host=127.0.0.1", f'--port="$(cat "{folder}/port")"', "--username=cluster"]
    return " ".join([*program, *server, "--format=custom --file=before-upgrade.dump postgres"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.upgrade",
        description="Show which migrations of this release the database lacks, which of them change data, "
        "and how to make a backup first. Without --apply, nothing is changed.",
        epilog="Exit code 0: the database has every migration; 3: migrations are missing. If nobody runs "
        "this command, the first process of a new release applies them (CLUSTER_MIGRATE_AT_START).",
    )
    parser.add_argument("--apply", action="store_true", help="apply the missing migrations")
    return parser


if __name__ == "__main__":
    sys.exit(main())
