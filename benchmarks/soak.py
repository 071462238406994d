"""Our endpoint at saturation for a while: its memory, its errors, and whether its vectors stay what they were.

    python -m benchmarks.soak --minutes 10

Clients send sentences and passages of mixed lengths without pause, no text twice, so that the cache fills and turns over. Ten times
a minute known texts go in between, once by an organisation that has asked for them before, so that the cache may answer, and
once by a new one, so that it cannot; their vectors are compared with the first. Memory is the slope of a line through the
server's resident size, without the first fifth of the time, in which allocators, cache and threads settle.

Ends with 1 when a bound is broken: any error, ``--slope``, ``--drift``.
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
from benchmarks.peers.servers import OURS, OURS_BF16, Obedient, Server, running
from benchmarks.peers.texts import Texts

PARTIES = {"float32": OURS, "bfloat16": OURS_BF16}
#: Largest difference of one number of a vector. Batches of other sizes sum in another order; bfloat16 has three digits.
DRIFT = {"float32": 1e-5, "bfloat16": 2e-2}
MIB = 1024 * 1024
#: Smaller than the default, so that it is full long before the end.
CACHE_BYTES = 4 * MIB
CLIENTS = 16
#: One turn of the clients; then they connect anew and get new texts.
SENTENCES, PASSAGES, TEXTS_OF_PASSAGES = 200, 4, 64
PROBE_EVERY_S = 6.0
TELL_EVERY_S = 60.0
SETTLING = 0.2
PROBES = 8


@dataclass
class Record:
    """What was seen, by the second it was seen in."""

    seconds: list[float] = field(default_factory=list)
    memory_bytes: list[int] = field(default_factory=list)
    vectors: list[NDArray[np.float32]] = field(default_factory=list)

    def drift(self) -> float:
        """Largest difference of any number of any probe's vector to the first time."""
        return float(max(np.abs(vectors - self.vectors[0]).max() for vectors in self.vectors))

    def slope_mib_per_minute(self) -> float:
        """Of memory, without the time it settles in."""
        seconds, memory = np.array(self.seconds) - self.seconds[0], np.array(self.memory_bytes)
        late = seconds >= SETTLING * seconds[-1]
        return (
            float(np.polyfit(seconds[late] / 60, memory[late] / MIB, 1)[0])
            if late.sum() > 1
            else float("nan")
        )


def main() -> int:
    """Soak, print what was seen, say whether the bounds held."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument(
        "--precision", choices=PARTIES, default="float32", help="of the engine (default: %(default)s)"
    )
    parser.add_argument(
        "--slope",
        type=float,
        default=1.0,
        help="most MiB a minute that memory may grow (default: %(default)s)",
    )
    parser.add_argument(
        "--drift", type=float, help=f"most that a number of a vector may change (default: {DRIFT})"
    )
    arguments = parser.parse_args()
    party = PARTIES[arguments.precision]
    party = replace(party, variables={**party.variables, "CLUSTER_VECTOR_CACHE_BYTES": str(CACHE_BYTES)})
    record, until = Record(), time.monotonic() + 60 * arguments.minutes
    with running(party, options=["--organisations"]) as server, ThreadPoolExecutor(1) as other:
        load = other.submit(saturate, server, until)
        for _ in moments(until):
            watch(server, record)
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
    """Clients without pause until then: vectors received, errors."""
    texts, vectors, errors = Texts(0), 0, []
    with closing(Obedient("client", {})) as client:
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


def moments(until: float) -> Iterator[int]:
    """One every few seconds until then."""
    number = 0
    while time.monotonic() < until:
        yield number
        number += 1
        time.sleep(PROBE_EVERY_S)


def watch(server: Server, record: Record) -> None:
    """Memory, and the probes by an organisation that asked before and by one that never did."""
    texts = Texts(1)
    probes = tuple(texts.passages(PROBES + 2)[:PROBES])
    for organisation in ("known", f"new-{len(record.vectors)}"):
        record.vectors.append(embedded_by(server, probes, {"x-organisation": organisation}))
    record.seconds.append(time.monotonic())
    record.memory_bytes.append(server.memory_bytes())
    passed = record.seconds[-1] - record.seconds[0]
    if passed // TELL_EVERY_S != (passed - PROBE_EVERY_S) // TELL_EVERY_S:
        print(
            f"{passed / 60:4.1f} min: {record.memory_bytes[-1] / MIB:,.1f} MiB, drift {record.drift():.1e}",
            file=sys.stderr,
        )


def show(record: Record, held: dict[str, tuple[float, float]], vectors: int) -> None:
    """The table."""
    minutes = (record.seconds[-1] - record.seconds[0]) / 60
    table = Table(box=box.MARKDOWN)
    for column in (f"{minutes:.1f} minutes, {vectors:,} vectors", "seen", "most", ""):
        table.add_column(column)
    for what, (seen, bound) in held.items():
        table.add_row(what, f"{seen:.3g}", f"{bound:g}", "held" if seen <= bound else "BROKEN")
    Console(width=120).print(table)


if __name__ == "__main__":
    sys.exit(main())
