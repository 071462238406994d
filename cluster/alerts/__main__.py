"""Runs the command that shows the open alerts, tests the channels, and makes secrets for the webhook.

python -m cluster.alerts test
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection
from rich.console import Console
from rich.markup import escape

from cluster.alerts import alert_store
from cluster.alerts.channels import NotSent, channel_names, open_channels
from cluster.alerts.notices import AlertNotice
from cluster.alerts.rules import RULES
from cluster.command import EXIT_FAILED, add_subcommand, run_subcommand
from cluster.database import in_one_transaction
from cluster.settings import Settings
from cluster.webhooks.signature import new_secret


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command == "new-secret":
        print(new_secret().reveal())
        return 0
    return run_subcommand(parser, options)


def _list(settings: Settings, _: argparse.Namespace) -> int:
    def read(connection: Connection[Any]) -> tuple[list[Any], Any, int]:
        return (
            list(alert_store.read_open(connection).values()),
            alert_store.read_last_evaluation(connection),
            len(alert_store.read_waiting(connection, channel_names(settings))),
        )

    alerts, last, waiting = in_one_transaction(settings, read)
    console = Console(highlight=False, soft_wrap=True)
    for alert in alerts:
        state = "pending" if alert.fired_at is None else "firing"
        rule = RULES.get(alert.rule)
        summary = alert.rule if rule is None else rule.summary.format(**alert.labels)
        console.print(escape(f"{state}  {alert.rule}  since {alert.since:%Y-%m-%d %H:%M:%S} UTC  {summary}"))
    if not alerts:
        console.print("no alert is open")
    if waiting:
        console.print(f"{waiting} messages are not sent yet; the log says why (alert_not_sent)")
    if last is None or alert_store.is_late(last):
        console.print(
            "no process evaluates the rules: start the cluster. If CLUSTER_ALERTS=false, only Prometheus "
            "evaluates them"
        )
        return EXIT_FAILED
    console.print(escape(f"{last.process} evaluated the rules {last.age_s:.0f} s ago"))
    return 0


def _test(settings: Settings, _: argparse.Namespace) -> int:
    now, failed = datetime.now(UTC), False
    notice = AlertNotice(
        state="test",
        rule="Test",
        severity="warning",
        labels={},
        value=0.0,
        summary="This is a test of the alerter.",
        description="A person ran python -m cluster.alerts test. Nothing is wrong.",
        since=now,
        at=now,
    )
    console = Console(highlight=False, soft_wrap=True)
    for channel in open_channels(settings):
        try:
            channel.send(notice)
            console.print(f"{channel.name}: sent")
        except NotSent as exc:
            failed = True
            console.print(escape(f"{channel.name}: not sent: {exc}"))
    return EXIT_FAILED if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.alerts",
        description="Show the open alerts, and test the channels of the alerter.",
        epilog="Settings are environment variables, listed in docs/settings.md.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    add_subcommand(commands, "list", _list, "Print the open alerts, and which process evaluates the rules.")
    add_subcommand(commands, "test", _test, "Send a test message through every channel of the settings.")
    add_subcommand(commands, "new-secret", None, "Print a new secret for CLUSTER_ALERT_WEBHOOK_SECRET.")
    return parser


if __name__ == "__main__":
    sys.exit(main())
