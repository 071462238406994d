"""Measures the memory of each process of a running cluster, and the CPU time of requests and of documents."""

import argparse
import contextlib
import random
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import psutil
from openai import OpenAI
from rich.console import Console
from rich.table import Table as Shown

from benchmarks.scaling.words import paragraph
from cluster.local import ray_head
from cluster.local.addresses import api_url
from cluster.local.environment import MARK
from cluster.local.processes import Identity, family, session_of
from cluster.settings import Settings

REQUESTS, CLIENTS = 400, 8
#: Number of documents that the workers index, and number of words of a document. A document has about eight
#: chunks.
DOCUMENTS, WORDS = 24, 1_600
MIB = 1024 * 1024


def run(options: argparse.Namespace) -> None:
    """Send the requests and the documents, and print both tables."""
    del options
    settings = Settings()
    url = f"{api_url(settings)}/v1"
    key = settings.api_key.get_secret_value() if settings.api_key else "unused"
    client = OpenAI(base_url=url, api_key=key, max_retries=2)
    store = client.vector_stores.create(name="benchmark, processes").id
    chance = random.Random()
    try:
        costs = [
            _cost(
                settings,
                "document of 8 chunks, by a worker",
                DOCUMENTS,
                lambda: _index(client, store, chance),
            ),
            _cost(
                settings,
                "embedding of one sentence",
                REQUESTS,
                lambda: _each(
                    lambda text: client.embeddings.create(model=settings.model, input=text), chance, REQUESTS
                ),
            ),
            _cost(
                settings,
                "search of a store",
                REQUESTS,
                lambda: _each(lambda text: client.vector_stores.search(store, query=text), chance, REQUESTS),
            ),
        ]
        Console(width=110).print(_costs(costs), _memory(settings))
    finally:
        client.vector_stores.delete(store)


def _index(client: OpenAI, store: str, chance: random.Random) -> None:
    """Upload the documents, attach them with one batch, and wait until they are searchable."""
    files = [
        client.files.create(file=(f"{n}.txt", paragraph(chance, WORDS).encode()), purpose="assistants").id
        for n in range(DOCUMENTS)
    ]
    counts = client.vector_stores.file_batches.create_and_poll(store, file_ids=files).file_counts
    assert counts.completed == DOCUMENTS, counts


def _each(ask: Callable[[str], object], chance: random.Random, count: int) -> None:
    """Send ``count`` requests, each with another sentence, from several clients at the same time."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        for _ in clients.map(ask, [paragraph(chance, 15) for _ in range(count)]):
            pass


def _cost(
    settings: Settings, what: str, count: int, work: Callable[[], None]
) -> tuple[str, int, float, float]:
    """Do the work. Return its name, the number of requests or documents, and the seconds and the CPU
    milliseconds of one request or document.
    """
    before, started = _cpu_s(settings), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - started, _cpu_s(settings)
    used = sum(cpu - before.get(pid, 0.0) for pid, cpu in after.items())
    return what, count, seconds / count, 1_000 * used / count


def _cpu_s(settings: Settings) -> dict[int, float]:
    found: dict[int, float] = {}
    for process in _processes(settings):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            found[process.pid] = times.user + times.system
    return found


def _processes(settings: Settings) -> list[psutil.Process]:
    """Return the processes of Ray, the applications, HAProxy and the bundled Postgres of this home."""
    head = ray_head.running(settings)
    if head is None:
        raise SystemExit("no cluster runs for this home; start it with make up")
    ray = family(MARK, head.folder, session=session_of(Identity(pid=head.pid, started=head.started)))
    return [*ray, *_postgres(settings)]


def _postgres(settings: Settings) -> list[psutil.Process]:
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "postgres" and str(settings.home) in " ".join(
            process.info["cmdline"] or ()
        ):
            return [process, *process.children()]
    return []


def _costs(costs: list[tuple[str, int, float, float]]) -> Shown:
    table = Shown(title="CPU time of all processes of the cluster, for one request or document")
    for column in ("", "sent", "CPU ms", "an hour per core"):
        table.add_column(column, justify="right" if column else "left")
    for what, count, _, cpu_ms in costs:
        table.add_row(what, f"{count}", f"{cpu_ms:.1f}", f"{3_600_000 / cpu_ms:,.0f}")
    return table


def _memory(settings: Settings) -> Shown:
    groups: dict[str, list[float]] = defaultdict(list)
    for process in _processes(settings):
        with contextlib.suppress(psutil.Error):
            groups[_name(process)].append(process.memory_full_info().pss / MIB)
    table = Shown(title="Memory, shared pages divided between the processes that share them")
    for column in ("process", "number", "MiB of the largest", "MiB of all"):
        table.add_column(column, justify="left" if column == "process" else "right")
    for name, sizes in sorted(groups.items(), key=lambda group: -sum(group[1])):
        table.add_row(name, f"{len(sizes)}", f"{max(sizes):,.0f}", f"{sum(sizes):,.0f}")
    table.add_row("all", "", "", f"{sum(map(sum, groups.values())):,.0f}")
    return table


def _name(process: psutil.Process) -> str:
    """Return a name that says what the process does, from the title or the command line of the process."""
    command = process.cmdline()
    first = command[0] if command else process.name()
    if first.startswith(("ray::", "postgres:")):
        return first.split("#")[0].strip() if first.startswith("ray::") else "postgres"
    named = [part for part in command if part.startswith(("-m", "/")) and part.endswith(".py")]
    module = command[command.index("-m") + 1] if "-m" in command[:-1] else ""
    return module or (named[0].rsplit("/", 1)[-1] if named else process.name())
