"""The modules that a new process imports. The time and the memory of its start depend on them.

assert "torch" not in modules_after("import cluster.settings")
"""

import json
import subprocess
import sys

from tests.conftest import ROOT
from tests.waiting import LONGEST_COMMAND_S


def modules_after(code: str) -> set[str]:
    """The names of the modules of a new process after it ran this code."""
    script = f"{code}\nimport json, sys; print(json.dumps([*sys.modules]))"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=LONGEST_COMMAND_S,
    )
    return set(json.loads(done.stdout.splitlines()[-1]))
