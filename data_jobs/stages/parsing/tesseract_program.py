"""Find the program Tesseract and its languages. ``recognition`` and the pipeline version call ``installed``.

installed()    # Tesseract(program="/usr/bin/tesseract", version="5.3.0", languages=frozenset({"eng", "osd"}))
"""

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

import structlog

log = structlog.get_logger(__name__)

#: Seconds that the program may take to print its version or its languages.
TIMEOUT_S = 20.0
VERSION = re.compile(r"tesseract v?(\S+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tesseract:
    """An installed Tesseract."""

    #: Absolute path.
    program: str
    version: str
    #: The languages whose data are installed.
    languages: frozenset[str]


@cache
def installed() -> Tesseract | None:
    """Return the Tesseract of this node; None if it is not installed or does not run."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    try:
        version = _output(program, "--version")
        _, *languages = _output(program, "--list-langs").splitlines()
    except (OSError, subprocess.SubprocessError, ValueError) as exc:
        log.warning("tesseract_does_not_run", program=program, reason=str(exc))
        return None
    found = VERSION.search(version)
    return Tesseract(
        program=program, version=found[1] if found else "", languages=frozenset(map(str.strip, languages))
    )


def _output(program: str, option: str) -> str:
    done = subprocess.run(
        [program, option], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT_S, check=True
    )
    return done.stdout.decode("utf-8", "replace")
