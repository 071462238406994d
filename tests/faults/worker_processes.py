"""Starts workers in processes of their own, and starts them again when they end, as Serve does."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from cluster.local.environment import settings_variables
from cluster.local.processes import wait_gone
from cluster.settings import Settings
from tests.conftest import ROOT
from tests.waiting import LONGEST_WAIT_S, Stopwatch

WATCH_S = 0.1
STOP_S = LONGEST_WAIT_S


class Workers:
    """Runs the worker processes of one home.

    Args:
        count: number of workers.
        folder: receives one log file for each worker.
    """

    def __init__(self, settings: Settings, count: int, folder: Path) -> None:
        self._environment = {**os.environ, **settings_variables(settings)}
        self._folder = folder
        self._running: dict[str, psutil.Popen] = {}
        self._ending = threading.Event()
        self._names = [f"worker{number}" for number in range(count)]
        self._watcher = threading.Thread(target=self._watch)

    def alive(self) -> list[psutil.Popen]:
        """Processes that have not ended; SIGSTOP may have stopped them."""
        return [process for process in list(self._running.values()) if process.poll() is None]

    def of(self, worker: str | None) -> psutil.Popen | None:
        """The live process of the worker with this name."""
        return next(
            (process for process in self.alive() if worker and worker.endswith(f"-{process.pid}")), None
        )

    def __enter__(self) -> Self:
        for name in self._names:
            self._start(name)
        self._watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._watcher.join()
        for process in self.alive():
            process.terminate()
        psutil.wait_procs(self.alive(), timeout=STOP_S)
        for process in self.alive():
            process.kill()
            process.wait()

    def _start(self, name: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = psutil.Popen(
                [sys.executable, "-m", "tests.faults.worker", name],
                cwd=ROOT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def _watch(self) -> None:
        while not self._ending.is_set():
            for name, process in list(self._running.items()):
                if process.poll() is not None:
                    self._start(name)
            time.sleep(WATCH_S)


def parse_processes(worker: psutil.Process) -> list[psutil.Process]:
    """The parse processes of the worker. Each forks a child for each document."""
    found = []
    for child in children(worker):
        try:
            if "data_jobs.stages.parsing.fork_server" in child.cmdline():
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def children(process: psutil.Process) -> list[psutil.Process]:
    """Live children of the process; none of a process that has ended."""
    try:
        return [child for child in process.children() if child.status() != psutil.STATUS_ZOMBIE]
    except psutil.NoSuchProcess:
        return []


def parsing(workers: Workers) -> tuple[psutil.Process, psutil.Process]:
    """A parse process that has a document now, and its child that parses it."""
    deadline = time.monotonic() + LONGEST_WAIT_S
    while time.monotonic() < deadline:
        for worker in workers.alive():
            for parent in parse_processes(worker):
                for child in children(parent):
                    return parent, child
    raise AssertionError(f"nothing was parsed within {LONGEST_WAIT_S:g} s")


def await_gone(processes: list[psutil.Process], *, within_s: float) -> None:
    """Return when none of the processes runs. Zombies count as ended.

    Fail after ``within_s``, which do not count what threads waited for a processor.
    """
    began = Stopwatch()
    remaining = wait_gone(processes, LONGEST_WAIT_S)
    assert remaining == [], f"still running after {LONGEST_WAIT_S:g} s: {remaining}"
    assert began.seconds() < within_s
