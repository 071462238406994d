"""Measure how fast processes get room in a shared budget, and compare with a named Ray actor that counts.

    python -m benchmarks.rate_limits --processes 1 4 16

Each process takes a grant of a budget that never runs out and settles it, in a loop. The database is the
bundled Postgres in a temporary home. ``--ray`` measures the baseline: as many actors call one named actor,
which adds numbers and keeps nothing. Exit code 1: one of the numbers of processes got fewer than
``MIN_GRANTS_PER_S`` grants a second.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from psycopg_pool import ConnectionPool

from cluster.database import bundled, open_pool
from cluster.rate_limits import SharedBudget
from cluster.settings import Settings

SECONDS = 5.0
#: What a Pinecone namespace allows, as the most frequent calls that a budget has to serve.
MIN_GRANTS_PER_S = 100
LIMITS = {"requests": (10**8, 60.0), "tokens": (10**12, 60.0)}


def call(url: str, seconds: float) -> list[float]:
    """Take and settle grants for so long; return the seconds of each ``acquire``."""
    taken = []
    with ConnectionPool(url, min_size=1, max_size=1) as pool:
        budget = SharedBudget(pool, "benchmark", LIMITS)
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            began = time.perf_counter()
            grant = budget.acquire({"requests": 1, "tokens": 500}, organisation="acme", timeout_s=60)
            taken.append(time.perf_counter() - began)
            grant.settle()
    return taken


def call_actors(processes: int, seconds: float) -> list[float]:
    """Return the seconds of each call to one named actor, from as many other actors."""
    import ray

    @ray.remote(num_cpus=0)
    class LimitedBudget:
        def __init__(self) -> None:
            self.used = 0

        def take(self, tokens: int) -> int:
            self.used += tokens
            return self.used

    @ray.remote(num_cpus=0)
    class ProviderCaller:
        def call(self, seconds: float) -> list[float]:
            budget, taken = ray.get_actor("budget"), []
            ray.get(budget.take.remote(0))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                began = time.perf_counter()
                ray.get(budget.take.remote(500))
                taken.append(time.perf_counter() - began)
            return taken

    budget = LimitedBudget.options(name="budget").remote()
    callers = [ProviderCaller.remote() for _ in range(processes)]
    taken = [one for made in ray.get([caller.call.remote(seconds) for caller in callers]) for one in made]
    for actor in (budget, *callers):
        ray.kill(actor)
    return taken


def show(what: str, processes: int, taken: list[float], seconds: float) -> float:
    """Print one row of the table; return the calls per second."""
    rate = len(taken) / seconds
    cuts = statistics.quantiles(taken, n=100)
    print(f"| {what} | {processes} | {cuts[49] * 1e3:.1f} | {cuts[94] * 1e3:.1f} | {rate:,.0f} |")
    return rate


def main() -> int:
    """Run the benchmark and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rate_limits", description=__doc__)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--ray", action="store_true", help="measure the named actor too")
    parser.add_argument("--caller", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.caller:
        print(json.dumps(call(options.caller, options.seconds)))
        return 0
    print("| budget | processes | p50 ms | p95 ms | grants/s |\n| --- | ---: | ---: | ---: | ---: |")
    rates = []
    home = Path(tempfile.mkdtemp(prefix="ec-rates-"))
    home.chmod(0o755)  # Postgres may run as another user
    settings = Settings(home=home, log_level="WARNING")
    open_pool(settings).close()
    try:
        url = bundled.url(settings)
        command = [sys.executable, "-m", "benchmarks.rate_limits", "--seconds", str(options.seconds)]
        for processes in options.processes:
            callers = [
                subprocess.Popen([*command, "--caller", url], stdout=subprocess.PIPE)
                for _ in range(processes)
            ]
            taken = [one for caller in callers for one in json.loads(caller.communicate()[0])]
            rates.append(show("Postgres", processes, taken, options.seconds))
    finally:
        bundled.stop(settings)
    if options.ray:
        import ray

        ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        for processes in options.processes:
            show("named actor", processes, call_actors(processes, options.seconds), options.seconds)
        ray.shutdown()
    return int(min(rates) < MIN_GRANTS_PER_S)


if __name__ == "__main__":
    sys.exit(main())
