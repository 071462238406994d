"""What the commands ``cluster.local`` and ``cluster.doctor`` do alike: read the settings, say an error in a line, give an exit code.

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
    """The command's own exit code, or that of the error that ended it.

    Args:
        command: called with the settings of this environment.
        console: where errors are told.
        log_level: least severe level that is logged meanwhile.
    """
    try:
        settings = Settings()
        configure(settings.model_copy(update={"log_level": log_level}))
        return command(settings)
    except ValidationError as exc:
        for error in exc.errors():
            console.print(
                f"[red]setting[/] CLUSTER_{'_'.join(map(str, error['loc'])).upper()}: {escape(error['msg'])}"
            )
        return EXIT_USAGE
    except ClusterError as exc:
        console.print(f"[red]failed:[/] {escape(str(exc))}", soft_wrap=True)
        return EXIT_FAILED
