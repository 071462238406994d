"""Run our endpoint at saturation, and check its memory, its errors and the stability of its vectors.

    python -m benchmarks.soak --minutes 10

Clients send sentences and passages of mixed lengths without pause, and no text twice, so that the cache fills
and evicts. Ten times a minute the same probe texts are sent: once by an organisation that has sent them
before, so that the cache may answer, and once by a new organisation, so that it cannot. Their vectors are
compared with the first ones. The growth of memory is the slope of a line through the server's resident size,
without the first fifth of the time, in which allocators, cache and threads settle.

Exit code 1: an error occurred, or ``--slope`` or ``--drift`` was exceeded.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.endpoint import embedded_by
from benchmarks.peers.servers import OURS, OURS_BF16, CommandedProcess, Server, running
from benchmarks.peers.texts import Texts

PARTIES = {"float32": OURS, "bfloat16": OURS_BF16}
#: Largest difference of one component of a vector. Batches of other sizes sum in another order; bfloat16 has
#: three digits.
DRIFT = {"float32": 1e-5, "bfloat16": 2e-2}
MIB = 1024 * 1024
#: Smaller than the default, so that the cache is full long before the end.
CACHE_BYTES = 4 * MIB
CLIENTS = 16
#: Requests of one turn, after which the clients connect again and get new texts.
SENTENCES, PASSAGES, TEXTS_OF_PASSAGES = 200, 4, 64
PROBE_EVERY_S = 6.0
REPORT_EVERY_S = 60.0
SETTLING_SHARE = 0.2
PROBES = 8


@dataclass
class SoakRecord:
    """Measurements, with their times."""

    seconds: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def drift(self) -> float:
        """Largest difference of any component of a probe's vector to its first value."""
        return float(max(np.abs(vectors - self.vectors[0]).max() for vectors in self.vectors))

    def slope_mib_per_minute(self) -> float:
        """Slope of the memory, without the settling time."""
        seconds, memory = np.array(self.seconds) - self.seconds[0], np.array(self.memory_bytes)
        late = seconds >= SETTLING_SHARE * seconds[-1]
        return (
            float(np.polyfit(seconds[late] / 60, memory[late] / MIB, 1)[0])
            if late.sum() > 1
            else float("nan")
        )


def main() -> int:
    """Run the soak test, print the measurements; the exit code says whether the bounds held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="duration (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=PARTIES,
        default="float32",
        help="precision of the engine (default: %(default)s)",
    )
    parser.add_argument(
        "--slope",
        type=float,
        default=1.0,
        help="most that memory may grow, in MiB a minute (default: %(default)s)",
    )
    parser.add_argument(
        "--drift", type=float, help=f"most that a component of a vector may change (default: {DRIFT})"
    )
    arguments = parser.parse_args()
    party = PARTIES[arguments.precision]
    party = replace(party, variables={**party.variables, "CLUSTER_VECTOR_CACHE_BYTES": str(CACHE_BYTES)})
    record, until = SoakRecord(), time.monotonic() + 60 * arguments.minutes
    with running(party, options=["--organisations"]) as server, ThreadPoolExecutor(1) as other:
        load = other.submit(saturate, server, until)
        for _ in ticks(until):
            measure(server, record)
        vectors, errors = load.result()
    held = {
        "errors": (len(errors), 0),
        "memory, MiB a minute": (record.slope_mib_per_minute(), arguments.slope),
        "drift of the vectors": (record.drift(), arguments.drift or DRIFT[arguments.precision]),
    }
    show(record, held, vectors)
    for error in errors[:3]:
        print(error, file=sys.stderr)
    return 0 if all(seen <= bound for seen, bound in held.values()) else 1


def saturate(server: Server, until: float) -> tuple[int, list[str]]:
    """Send requests without pause until ``until``; returns the number of vectors received, and the errors."""
    texts, vectors, errors = Texts(0), 0, []
    with closing(CommandedProcess("client", {})) as client:
        while time.monotonic() < until:
            inputs = [texts.sentence() for _ in range(SENTENCES)]
            inputs[:: SENTENCES // PASSAGES] = [texts.passages(TEXTS_OF_PASSAGES) for _ in range(PASSAGES)]
            requests = [server.request(one) for one in inputs]
            busy = {
                "clients": CLIENTS,
                "requests": requests,
                "headers": {"x-organisation": "load"},
                "seconds": until - time.monotonic(),
            }
            seen = client.ask({"url": server.url, "busy": busy})["busy"]
            vectors += seen["vectors"]
            errors += seen["errors"]
    return vectors, errors


def ticks(until: float) -> Iterator[int]:
    """Yield a number every ``PROBE_EVERY_S`` seconds until ``until``."""
    number = 0
    while time.monotonic() < until:
        yield number
        number += 1
        time.sleep(PROBE_EVERY_S)


def measure(server: Server, record: SoakRecord) -> None:
    """Measure the memory, and the vectors of the probes for a known and for a new organisation."""
    texts = Texts(1)
    probes = tuple(texts.passages(PROBES + 2)[:PROBES])
    for organisation in ("known", f"new-{len(record.vectors)}"):
        record.vectors.append(embedded_by(server, probes, {"x-organisation": organisation}))
    record.seconds.append(time.monotonic())
    record.memory_bytes.append(server.memory_bytes())
    passed = record.seconds[-1] - record.seconds[0]
    if passed // REPORT_EVERY_S != (passed - PROBE_EVERY_S) // REPORT_EVERY_S:
        print(
            f"{passed / 60:4.1f} min: {record.memory_bytes[-1] / MIB:,.1f} MiB, drift {record.drift():.1e}",
            file=sys.stderr,
        )


def show(record: SoakRecord, held: dict[str, tuple[float, float]], vectors: int) -> None:
    """Print the table."""
    minutes = (record.seconds[-1] - record.seconds[0]) / 60
    table = Table(box=box.MARKDOWN)
    for column in (f"{minutes:.1f} minutes, {vectors:,} vectors", "measured", "bound", ""):
        table.add_column(column)
    for what, (seen, bound) in held.items():
        table.add_row(what, f"{seen:.3g}", f"{bound:g}", "held" if seen <= bound else "BROKEN")
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
