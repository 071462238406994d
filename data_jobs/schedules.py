"""List, create, pause, resume, run and delete schedules, and show their history.

    python -m data_jobs.schedules list
    python -m data_jobs.schedules create --kind ingest_files --input '{"vector_store_id": "vs_..."}' \
        --cron '30 2 * * mon-fri' --time-zone Europe/Berlin
    python -m data_jobs.schedules history sched_...

The schedules of the cluster itself belong to the organisation ``system``. ``--all-organisations`` creates a
schedule of ``system`` that submits one job for each organisation.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import Connection
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cluster.command import EXIT_USAGE, add_subcommand, run
from cluster.database import open_pool, translated
from cluster.database.paging import PageRequest
from cluster.database.row_access import ALL
from cluster.errors import InvalidInput
from cluster.jobs.jobs import SYSTEM, PriorityClass
from cluster.jobs.schedules import schedules
from cluster.jobs.schedules.cron import Timing
from cluster.jobs.schedules.due import DueJob, run_now
from cluster.jobs.schedules.run_window import DAYS, RunWindow
from cluster.jobs.schedules.runs import ScheduleRun, list_runs
from cluster.jobs.schedules.schedules import MAX_CATCH_UP_LIMIT, CatchUp, Schedule, ScheduleOptions
from cluster.organisations.caller import acting_as, command_user
from cluster.settings import Settings
from cluster.submissions import accept_due, schedulable_kind, validated_arguments

#: Number of future times that ``create`` prints.
SHOWN_TIMES = 5
MAX_SHOWN_RESULT = 60
#: Width in characters of a table that is not printed on a terminal.
FILE_WIDTH = 250

#: A function that does the work of a command. The function prints a table or lines on the console, and
#: returns the values that ``--json`` prints.
Does = Callable[[Settings, argparse.Namespace, Connection[Any], Console], Any]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return the exit code of the process."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return EXIT_USAGE
    errors = Console(stderr=True, highlight=False)
    return run(lambda settings: _in_database(settings, options), errors, log_level="ERROR")


def _in_database(settings: Settings, options: argparse.Namespace) -> int:
    does: Does = options.does
    width = None if sys.stdout.isatty() else FILE_WIDTH
    shown = Console(highlight=False, width=width, stderr=options.json)
    options.organisation = options.organisation or settings.organisation
    with (
        acting_as(command_user()),
        closing(open_pool(settings, access=ALL)) as pool,
        translated(),
        pool.connection() as connection,
    ):
        found = does(settings, options, connection, shown)
    if options.json:
        print(json.dumps(found, default=str))
    return 0


def _list(_: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console) -> Any:
    found = schedules.get_schedules(connection, options.organisation)
    rows = [
        (
            one.id,
            one.name or "",
            one.kind,
            _times(one),
            "active" if one.enabled else "paused",
            _shown(one.next_run_at, one.time_zone) if one.enabled else "",
            _shown(one.last_run_at, one.time_zone),
        )
        for one in found
    ]
    _print(console, ("id", "name", "kind", "times", "state", "next", "last"), rows)
    for one in found:
        if one.disabled_because is not None:
            console.print(escape(f"{one.id} was paused by a worker: {one.disabled_because}"))
    return [asdict(one) for one in found]


def _create(
    settings: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console
) -> Any:
    owner = SYSTEM if options.all_organisations else options.organisation
    kind = schedulable_kind(options.kind, owner)
    timing = Timing(cron=options.cron, interval_s=options.every, time_zone=options.time_zone)
    made = schedules.create_schedule(
        connection,
        owner,
        kind,
        timing,
        validated_arguments(kind, _json_object(options.input)),
        options=_schedule_options(options),
        all_organisations=options.all_organisations,
    )
    assert made is not None  # None would mean that the id exists already, but this id is new
    if not options.all_organisations:
        due = DueJob(schedule=made, organisation=owner, scheduled_for=made.next_run_at, by_hand=True)
        with connection.transaction(force_rollback=True):
            accept_due(settings)(connection, due)  # if the job would be refused now, the command fails here
    console.print(escape(f"created {made.id}; its next times are"))
    for time in made.next_times(SHOWN_TIMES, now=datetime.now(UTC)):
        console.print(f"  {time.isoformat(sep=' ', timespec='minutes')}")
    return asdict(made)


def _pause(_: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console) -> Any:
    schedule = _set_enabled(connection, options, enabled=False)
    console.print(escape(f"{schedule.id} is paused; times that pass meanwhile are not made up"))
    return asdict(schedule)


def _resume(_: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console) -> Any:
    schedule = _set_enabled(connection, options, enabled=True)
    console.print(
        escape(
            f"{schedule.id} is active; its next time is {_shown(schedule.next_run_at, schedule.time_zone)}"
        )
    )
    return asdict(schedule)


def _run_now(
    settings: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console
) -> Any:
    schedule = schedules.get_schedule(connection, options.organisation, options.schedule)
    found = run_now(connection, schedule, accept=accept_due(settings))
    for one in found:
        console.print(escape(f"submitted {one.job} for {one.job_organisation}"))
    return [asdict(one) for one in found]


def _delete(_: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console) -> Any:
    schedules.delete_schedule(connection, options.organisation, options.schedule)
    console.print(escape(f"{options.schedule} is deleted; its jobs stay"))
    return {"id": options.schedule, "deleted": True}


def _history(_: Settings, options: argparse.Namespace, connection: Connection[Any], console: Console) -> Any:
    schedule = schedules.get_schedule(connection, options.organisation, options.schedule)
    page = PageRequest(limit=options.limit)
    found = list_runs(connection, options.organisation, schedule.id, page).items
    rows = [
        (
            _shown(one.scheduled_for, schedule.time_zone),
            "a person" if one.by_hand else "schedule",
            one.state.value,
            "" if one.duration_s is None else f"{one.duration_s:.1f} s",
            one.job or "",
            *((one.job_organisation,) if schedule.all_organisations else ()),
            _end(one),
        )
        for one in found
    ]
    owner = ("organisation",) if schedule.all_organisations else ()
    _print(console, ("time", "started by", "state", "duration", "job", *owner, "result or error"), rows)
    return [{**asdict(one), "duration_s": one.duration_s} for one in found]


def _set_enabled(connection: Connection[Any], options: argparse.Namespace, *, enabled: bool) -> Schedule:
    old = schedules.get_schedule(connection, options.organisation, options.schedule, lock=True)
    return schedules.update_schedule(connection, old, options=replace(old.options, enabled=enabled))


def _schedule_options(options: argparse.Namespace) -> ScheduleOptions:
    return ScheduleOptions(
        name=options.name,
        priority_class=PriorityClass(options.priority_class),
        priority=options.priority,
        enabled=not options.paused,
        catch_up=CatchUp(options.catch_up),
        catch_up_limit=options.catch_up_limit,
        not_before=options.not_before,
        run_window=_window(options),
    )


def _window(options: argparse.Namespace) -> RunWindow | None:
    if options.window is None:
        return None
    begins, dash, ends = options.window.partition("-")
    if not dash:
        raise InvalidInput(f"--window is {options.window!r}; it must have the form 22:00-06:00")
    days = tuple(options.window_days.split(",")) if options.window_days else DAYS
    return RunWindow(begins=begins, ends=ends, time_zone=options.time_zone, days=days)


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as exc:
        raise InvalidInput(f"--input is no JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise InvalidInput('--input must be a JSON object, such as \'{"vector_store_id": "vs_..."}\'')
    return value


def _times(schedule: Schedule) -> str:
    if schedule.interval_s is not None:
        return f"every {schedule.interval_s:,} s"
    return f"{schedule.cron} {schedule.time_zone}"


def _shown(at: datetime | None, time_zone: str) -> str:
    return "" if at is None else at.astimezone(ZoneInfo(time_zone)).isoformat(sep=" ", timespec="minutes")


def _end(run: ScheduleRun) -> str:
    text = run.error or ("" if run.result is None else json.dumps(run.result, ensure_ascii=False))
    return text if len(text) <= MAX_SHOWN_RESULT else text[: MAX_SHOWN_RESULT - 3] + "..."


def _print(console: Console, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError("add the time zone, such as 2026-12-01T02:00:00+01:00")
    return moment


def _whole(low: int, high: int) -> Callable[[str], int]:
    def whole(text: str) -> int:
        number = int(text)
        if not low <= number <= high:
            raise argparse.ArgumentTypeError(f"{number} is not in {low}..{high}")
        return number

    return whole


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_jobs.schedules",
        description="List, create, pause, resume, run and delete schedules, and show their history. The "
        "schedules of the cluster itself belong to the organisation system.",
        epilog="Settings are environment variables, listed in docs/settings.md. Exit codes: 0, done; 1, the "
        "command failed; 2, wrong usage.",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")

    def add(name: str, does: Does, help: str, *, one: bool = True) -> argparse.ArgumentParser:
        command = add_subcommand(commands, name, does, help)
        if one:
            command.add_argument("schedule", help="id of the schedule, sched_...")
        command.add_argument("--organisation", help="owner of the schedule (default: CLUSTER_ORGANISATION)")
        command.add_argument("--json", action="store_true", help="print JSON on standard output")
        return command

    add("list", _list, "List schedules with their next and last times.", one=False)
    _add_options(add("create", _create, "Create a schedule, and print its next times.", one=False))
    add("pause", _pause, "Let a schedule submit no jobs.")
    add("resume", _resume, "Continue a paused schedule with its first time from now on.")
    add("run", _run_now, "Submit a job of a schedule now.")
    add("delete", _delete, "Delete a schedule and its history. Its jobs stay.")
    history = add("history", _history, "Show the latest runs with state, duration and result.")
    history.add_argument(
        "--limit", type=_whole(1, 10_000), default=20, help="maximum number of runs (default: 20)"
    )
    return parser


def _add_options(create: argparse.ArgumentParser) -> None:
    add = create.add_argument
    add("--kind", required=True, help="kind of the jobs, such as ingest_files")
    add("--input", default="{}", metavar="JSON", help="input of each job, as for POST /v1/jobs (default: {})")
    add("--cron", help="five fields: minute, hour, day of month, month, day of week")
    add("--every", type=int, metavar="SECONDS", help="interval between two times, instead of --cron")
    add("--time-zone", default="UTC", help="IANA name of the zone of --cron and --window (default: UTC)")
    add("--name", help="a name for people")
    classes = [one.value for one in PriorityClass]
    add("--priority-class", choices=classes, default="scheduled", help="urgency (default: scheduled)")
    add("--priority", type=_whole(0, 9), default=5, help="0 to 9 within the class (default: 5)")
    policies = [one.value for one in CatchUp]
    add("--catch-up", choices=policies, default="all", help="which missed times get a job (default: all)")
    limit = _whole(1, MAX_CATCH_UP_LIMIT)
    add("--catch-up-limit", type=limit, default=100, help="missed times made up at once (default: 100)")
    add("--not-before", type=_moment, metavar="TIME", help="no time is earlier than this one (RFC 3339)")
    add("--window", metavar="FROM-TO", help="hours in which the jobs may begin, such as 22:00-06:00")
    add(
        "--window-days", metavar="DAYS", help="days on which the window opens, such as mon,tue (default: all)"
    )
    add("--paused", action="store_true", help="create the schedule paused")
    add("--all-organisations", action="store_true", help="submit one job for each organisation")


if __name__ == "__main__":
    sys.exit(main())
