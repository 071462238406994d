"""Measures the CPU time of the parts of a bulk ingest: engines, stages, Ray, Postgres, and the command.

parts = CpuParts(settings)
...
parts.used_s()["Postgres"]
"""

import contextlib
import os
import threading

import psutil

from cluster.settings import Settings

ENGINES, STAGES, RAY, POSTGRES, COMMAND = "engines", "stages", "Ray", "Postgres", "command"
POLL_S = 1.0


class CpuParts:
    """Adds up the CPU times of the processes of this benchmark, also of processes that end before ``used_s``.

    Args:
        settings: the settings of this benchmark, whose home has the bundled Postgres.
    """

    def __init__(self, settings: Settings) -> None:
        self._data = str(settings.home)
        self._latest: dict[int, tuple[str, float]] = {}
        self._engines: set[int] = set()
        self._before: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def start(self) -> None:
        """Begin to measure."""
        self._read()
        self._before = {pid: seconds for pid, (_, seconds) in self._latest.items()}
        self._thread.start()

    def used_s(self) -> dict[str, float]:
        """Stop measuring, and return the CPU seconds of each part since ``start``."""
        self._ended.set()
        self._thread.join()
        self._read()
        used: dict[str, float] = dict.fromkeys((ENGINES, STAGES, RAY, POSTGRES, COMMAND), 0.0)
        for pid, (part, seconds) in self._latest.items():
            used[ENGINES if pid in self._engines else part] += seconds - self._before.get(pid, 0.0)
        return used

    def _poll(self) -> None:
        while not self._ended.wait(POLL_S):
            self._read()

    def _read(self) -> None:
        here = psutil.Process()
        found = [here, *here.children(recursive=True), *self._postgres()]
        for process in found:
            with contextlib.suppress(psutil.Error):
                times = process.cpu_times()
                part = self._part(process)
                if part is not None:
                    self._latest[process.pid] = (part, times.user + times.system)

    def _part(self, process: psutil.Process) -> str | None:
        if process.pid == os.getpid():
            return COMMAND
        command = " ".join(process.cmdline())
        if "postgres" in process.name():
            return POSTGRES
        if command.startswith("ray::"):
            if "MapWorker" in command:
                self._engines.add(process.pid)
            return STAGES
        return RAY

    def _postgres(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["name", "cmdline"]):
            if process.info["name"] == "postgres" and self._data in " ".join(process.info["cmdline"] or ()):
                found += [process, *process.children()]
        return found
