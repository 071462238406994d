"""Runs the commands ``cluster.local`` and ``cluster.doctor``: settings, error lines, exit codes.

sys.exit(run(lambda settings: 0, Console(stderr=True), log_level="WARNING"))
"""

from collections.abc import Callable

from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape

from cluster.errors import ClusterError
from cluster.logs import configure
from cluster.settings import Settings

EXIT_FAILED, EXIT_USAGE = 1, 2


def run(command: Callable[[Settings], int], console: Console, *, log_level: str) -> int:
    """Run a command with the settings of this environment, and return its exit code or that of its error.

    Args:
        command: takes the settings and returns an exit code.
        console: receives a line for each error.
        log_level: lowest level that is logged while the command runs.
    """
    try:
        settings = Settings()
        configure(settings.model_copy(update={"log_level": log_level}))
        return command(settings)
    except ValidationError as exc:
        for error in exc.errors():
            name = "_".join(["CLUSTER", *map(str, error["loc"])]).upper() if error["loc"] else "settings"
            message = escape(error["msg"].removeprefix("Value error, "))
            console.print(f"[red]wrong setting:[/] {name}: {message}", soft_wrap=True)
        return EXIT_USAGE
    except ClusterError as exc:
        console.print(f"[red]failed:[/] {escape(str(exc))}", soft_wrap=True)
        return EXIT_FAILED
