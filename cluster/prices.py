"""Runs the command that sets and lists the prices of usage.

python -m cluster.prices set embedding 0.02 --per 1000000 --model all-MiniLM-L6-v2 --from 2027-01-01
"""

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

from rich.console import Console
from rich.markup import escape

from cluster.command import add_subcommand, run_subcommand
from cluster.database import in_one_transaction
from cluster.jobs.jobs import SYSTEM
from cluster.organisations.caller import acting_as, command_user
from cluster.settings import Settings
from cluster.usage.events import UNITS
from cluster.usage.prices import UsagePrice, list_prices, next_hour, set_price


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    with acting_as(command_user()):
        return run_subcommand(parser, options)


def _set(settings: Settings, options: argparse.Namespace) -> int:
    price = UsagePrice(
        kind=options.kind,
        price=options.price / options.per,
        valid_from=options.start or next_hour(),
        valid_to=options.end,
        organisation=options.organisation,
        model=options.model,
    )
    stored = in_one_transaction(
        settings,
        lambda connection: set_price(connection, price, operator=SYSTEM, retroactive=options.retroactive),
    )
    print(f"{_dollars(stored.price)} for each of the {UNITS[stored.kind]}, {_period(stored)}")
    return 0


def _list(settings: Settings, options: argparse.Namespace) -> int:
    prices = in_one_transaction(settings, lambda connection: list_prices(connection, options.organisation))
    console = Console(highlight=False, soft_wrap=True)
    for price in prices:
        console.print(escape(_line(price)))
    if not prices:
        console.print("no prices are set")
    return 0


def _line(price: UsagePrice) -> str:
    owner, model = price.organisation or "all organisations", price.model or "all models"
    amount = f"{_dollars(price.price * 1_000_000)} per million {UNITS.get(price.kind, 'units')}"
    return "  ".join([price.kind, owner, model, amount, _period(price)])


def _dollars(price: Decimal) -> str:
    return f"${price.normalize():f}"


def _period(price: UsagePrice) -> str:
    end = "" if price.valid_to is None else f" to {_at(price.valid_to)}"
    return f"from {_at(price.valid_from)}{end}"


def _at(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _number(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not number.is_finite() or number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not 0 or more")
    return number


def _units(text: str) -> Decimal:
    number = _number(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be more than 0")
    return number


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no date and no time, such as 2027-01-31 or 2027-01-31T18:00Z"
        ) from None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cluster.prices",
        description="Set and list the prices of usage, in US dollars. Times are in UTC.",
        epilog="docs/usage.md describes kinds, prices and costs.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    change = add_subcommand(
        commands, "set", _set, "Set a price for a period. Other prices keep the rest of their periods."
    )
    change.add_argument("kind", choices=list(UNITS), help="kind of the usage")
    change.add_argument("price", type=_number, help="US dollars for --per units")
    change.add_argument("--per", type=_units, default=Decimal(1), help="number of units; without it 1")
    change.add_argument("--model", help="the only model with this price; without it all models")
    change.add_argument("--organisation", help="the only organisation with this price; without it all")
    change.add_argument(
        "--from",
        dest="start",
        type=_moment,
        metavar="TIME",
        help="a full hour; without it the next full hour",
    )
    change.add_argument(
        "--to",
        dest="end",
        type=_moment,
        metavar="TIME",
        help="a full hour; without it the beginning of the next price that is set already, or no end",
    )
    change.add_argument("--retroactive", action="store_true", help="permit a period that begins in the past")
    add_subcommand(commands, "list", _list, "List the prices.").add_argument(
        "--organisation", help="only prices that concern this organisation; without it all prices"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
