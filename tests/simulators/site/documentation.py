"""The pages of three documentation sets that other projects wrote, as their packages have them.

    documentation()["/lxml/intro.html"]      # the bytes of the page

``sets/README.md`` names the packages and their licences.
"""

import tarfile
from functools import cache
from pathlib import Path

#: The folders of the site. Each has one documentation set, made with a generator of its own.
SETS = ("lxml", "mako", "sqlite")
ARCHIVES = Path(__file__).with_name("sets")


@cache
def documentation() -> dict[str, bytes]:
    """Return the bytes of each page by its path on the site."""
    pages = {}
    for name in SETS:
        with tarfile.open(ARCHIVES / f"{name}.tar.xz") as archive:
            for member in archive.getmembers():
                file = archive.extractfile(member)
                assert file is not None
                pages[f"/{name}/{member.name}"] = file.read()
    return pages
