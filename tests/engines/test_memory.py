"""An engine's memory stays what it is, however many threads it has."""

import re
import subprocess
import sys
from pathlib import Path

#: Eight batches at once, half of them urgent, in a fresh process; then glibc tells its heaps.
SCRIPT = """
import ctypes, sys
import numpy as np
from cluster.engines import open_engine
from cluster.settings import Settings

engine = open_engine(Settings(device="cpu", threads=4))
for length in (5, 20, 40):
    batch = [np.full(length, 2000, np.int32)] * 4
    for one in [engine.submit(batch, urgent=urgent) for urgent in (False, True) * 4]:
        one.result()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
"""


def test_threads_of_an_engine_share_one_heap(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path / "heaps.xml")], check=True, timeout=100)
    heaps = re.findall(r"<heap nr=", (tmp_path / "heaps.xml").read_text())
    assert 1 <= len(heaps) <= 3  # those that were there before the engine, and no thread's
